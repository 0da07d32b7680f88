//! `alexnet reproduce`: the runs of a protocol, one after another, and what they come to.

mod begun;
mod lab;
mod measured;
mod page;
mod spread;

use crate::cli::ReproduceArgs;
use crate::console;
use crate::fault::{Fault, Result};
use crate::settings::did_you_mean;
use crate::{output, progress, ranks, signals};
use experiments::{Arm, Measure, Protocol};
use lab::Lab;
use measured::Measured;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Runs the command.
///
/// # Errors
/// Every exit code that `alexnet --help` lists. A network that diverges is a result, not an error.
pub fn reproduce(args: &ReproduceArgs) -> Result<u8> {
    let Some(name) = &args.name else {
        console::print(list())?;
        return Ok(0);
    };
    ranks::check_alone()?;
    let page = experiments::find(name).ok_or_else(|| {
        let all = experiments::all();
        let hint = did_you_mean(name, all.iter().map(|page| page.name));
        Fault::usage(format!(
            "there is no protocol `{name}`{hint} (`alexnet reproduce` lists them)"
        ))
    })?;
    let form = args.form();
    let page = page.in_form(form).ok_or_else(|| {
        Fault::usage(format!("--miniature: {name}'s images are small as they are: leave it out"))
    })?;
    let seeds = args.seeds.unwrap_or(page.seeds);
    let stop = signals::listen()?;
    let mut observer = progress::observer(args.progress);
    let lab = Lab::new(args, &page, &stop)?;
    let out = args.out.clone().unwrap_or_else(|| match args.rehearse {
        true => lab.runs().to_path_buf(),
        false => PathBuf::from("docs/results"),
    });
    std::fs::create_dir_all(&out).map_err(|error| Fault {
        code: 7,
        message: format!("{}: cannot make the folder: {error}", out.display()),
    })?;
    let mut done: Vec<Measured> = Vec::new();
    while let Some(Next { arm, seed, most_epochs }) = next(&page, seeds, &done) {
        let arm = &page.arms[arm];
        let Some(measured) = lab.run(arm, seed, most_epochs, &mut *observer)? else {
            return Ok(signals::exit_code(stop.requested().expect("runs end early when asked to")));
        };
        observer.note(&format!("{name}: {}", page::line(&page, &measured)));
        done.push(measured);
        // After every run, so that what is there can be seen.
        let together = match is_whole(&page, seeds, &done) {
            true => lab.together(&page.arms[0], seeds, &mut *observer)?,
            false => None,
        };
        let said = page::Said { page: &page, seeds, form, note: args.note.as_deref(), together };
        for (ending, text) in
            [("json", said.json(&done)), ("svg", said.svg(&done)), ("md", said.markdown(&done))]
        {
            output::write(&out.join(format!("{name}.{ending}")), text.as_bytes())?;
        }
    }
    drop(observer);
    console::println(format_args!("written: {}", out.join(format!("{name}.md")).display()))?;
    Ok(0)
}

fn list() -> String {
    let mut text = String::from("Protocols, the cheapest first:\n");
    for page in experiments::all() {
        text += &format!("  {:<12} {}\n", page.name, page.about);
    }
    text + "\nalexnet reproduce NAME --data DIR; --rehearse goes through all of one in seconds, \
            --miniature runs\none on ImageNet with small images\n"
}

/// Whether all runs are done and none diverged: a network that did is not asked with the others.
fn is_whole(page: &Protocol, seeds: u64, done: &[Measured]) -> bool {
    next(page, seeds, done).is_none() && done.iter().all(|run| run.diverged.is_none())
}

/// A run to be made.
#[derive(Debug, PartialEq)]
struct Next {
    arm: usize,
    seed: u64,
    most_epochs: Option<u32>,
}

/// The run that follows those that are done: all arms with the first seed, then with the second.
/// Where the fastest of a group counts, only that goes on to the second.
fn next(page: &Protocol, seeds: u64, done: &[Measured]) -> Option<Next> {
    let is_done =
        |arm: usize, seed| done.iter().any(|d| d.arm == page.arms[arm].name && d.seed == seed);
    let fastest = fastest(page, done);
    for seed in 0..seeds {
        for (arm, Arm { name, group, .. }) in page.arms.iter().enumerate() {
            let best = fastest.get(group);
            let most_epochs = match page.measure {
                Measure::EpochsTo(_) if seed == 0 => best.map(|(_, epochs)| epochs.ceil() as u32),
                Measure::EpochsTo(_) if best.is_none_or(|(best, _)| best != name) => continue,
                _ => None,
            };
            if !is_done(arm, seed) {
                return Some(Next { arm, seed, most_epochs });
            }
        }
    }
    None
}

/// Of each group, the arm that got there soonest with the first seed, and its epochs.
fn fastest(page: &Protocol, done: &[Measured]) -> BTreeMap<&'static str, (String, f64)> {
    let mut best: BTreeMap<&'static str, (String, f64)> = BTreeMap::new();
    for arm in &page.arms {
        let of_arm = done.iter().find(|d| d.arm == arm.name && d.seed == 0);
        let Some(epochs) = of_arm.and_then(|measured| measured.reached) else { continue };
        if best.get(arm.group).is_none_or(|(_, least)| epochs < *least) {
            best.insert(arm.group, (arm.name.clone(), epochs));
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(arm: &str, seed: u64, reached: Option<f64>) -> Measured {
        Measured { arm: arm.to_string(), seed, reached, ..Measured::default() }
    }

    #[test]
    fn arms_take_turns() {
        let page = experiments::find("overlap").unwrap();
        let mut done = Vec::new();
        let mut order = Vec::new();
        while let Some(Next { arm, seed, most_epochs: None }) = next(&page, 2, &done) {
            order.push((arm, seed));
            done.push(measured(&page.arms[arm].name, seed, None));
        }
        assert_eq!(order, [(0, 0), (1, 0), (0, 1), (1, 1)]);
    }

    #[test]
    fn a_network_that_diverged_is_not_asked_with_the_others() {
        let page = experiments::find("ensemble").unwrap();
        let mut done: Vec<Measured> =
            (0..2).map(|seed| measured(&page.arms[0].name, seed, None)).collect();
        assert!(is_whole(&page, 2, &done) && !is_whole(&page, 3, &done));
        done[1].diverged = Some("the loss is NaN".to_string());
        assert!(next(&page, 2, &done).is_none() && !is_whole(&page, 2, &done));
    }

    #[test]
    fn only_the_fastest_of_a_group_goes_on_and_none_is_waited_for_longer() {
        let page = experiments::find("fig1").unwrap();
        let mut done: Vec<Measured> = Vec::new();
        let (mut order, mut most) = (Vec::new(), Vec::new());
        while let Some(Next { arm, seed, most_epochs }) = next(&page, 2, &done) {
            order.push((arm, seed));
            most.push(most_epochs);
            // ReLU: 6.25 epochs with the second rate; tanh: 30 with its last.
            let reached = match arm {
                0 => Some(7.5),
                1 => Some(6.25),
                8 => Some(30.0),
                _ => None,
            };
            done.push(measured(&page.arms[arm].name, seed, reached));
        }
        let first: Vec<_> = (0..9).map(|arm| (arm, 0)).collect();
        assert_eq!((&order[..9], &order[9..]), (&first[..], &[(1, 1), (8, 1)][..]));
        assert_eq!(most[..4], [None, Some(8), Some(7), Some(7)]);
        assert!(most[4..].iter().all(Option::is_none));
    }
}
