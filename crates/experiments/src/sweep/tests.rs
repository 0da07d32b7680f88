//! Files of sweeps, drawn values, successive halving and its results, with a runner that computes
//! errors instead of training.

use super::*;
use evaluate::{Observer, Silent};
use std::collections::HashSet;

const RANDOM: &str = r#"
[sweep]
method = "random"
trials = 200
seed = 3

[train]
data = "shapes"
epochs = 9

[parameters."recipe.rate"]
log-uniform = [1e-4, 1e-1]
[parameters."recipe.momentum"]
uniform = [0.5, 0.99]
[parameters."recipe.batch"]
int = [8, 11]
[parameters.model]
values = ["alexnet-64", "cifar-19pct"]
"#;

fn changed(from: &str, to: &str) -> Result<Sweep, String> {
    assert!(RANDOM.contains(from), "{from}");
    Sweep::parse(&RANDOM.replace(from, to))
}

#[test]
fn a_file_is_read_and_its_mistakes_are_named() {
    let sweep = Sweep::parse(RANDOM).unwrap();
    assert_eq!(sweep.method, Method::Random { trials: 200 });
    assert_eq!((sweep.seed, sweep.metric, sweep.parameters.len()), (3, Metric::Error, 4));
    assert_eq!(sweep.train["epochs"].as_integer(), Some(9));
    let halving = changed("\"random\"", "\"halving\"\neta = 2").unwrap();
    assert_eq!(halving.method, Method::Halving { trials: 200, eta: 2, min_epochs: 1 });
    for (from, to, expected) in [
        ("trials = 200", "", "`trials` is missing"),
        ("trials = 200", "trials = 0", "sweep.trials is 0; it must be at least 1"),
        ("trials = 200", "trials = 200\neta = 3", "belong to method = \"halving\""),
        ("\"random\"", "\"halving\"\neta = 1", "sweep.eta is 1; it must be at least 2"),
        ("\"random\"", "\"halving\"\nmin-epochs = 0", "sweep.min-epochs is 0"),
        ("\"random\"", "\"bayes\"", "expected one of `grid`, `random`, `halving`"),
        ("seed = 3", "sead = 3", "unknown field `sead`"),
        ("seed = 3", "metric = \"accuracy\"", "validation error"),
        ("[train]", "[trian]", "unknown field `trian`"),
        ("log-uniform = [1e-4, 1e-1]", "", "\"recipe.rate\": give one of `values`"),
        ("[1e-4, 1e-1]", "[1e-1, 1e-4]", "the first must be below the second"),
        ("[1e-4, 1e-1]", "[0, 1]", "both must be above 0"),
        ("[0.5, 0.99]", "[0.5, 0.99]\nvalues = [1]", "\"recipe.momentum\": give one of"),
        ("[0.5, 0.99]", "[nan, 0.99]", "the first must be below the second"),
        ("int = [8, 11]", "int = [8, 8]", "int = [8, 8]: the first must be below"),
        ("int = [8, 11]", "int = [8, 11]\npoints = 3", "`points` belongs to"),
        ("[\"alexnet-64\", \"cifar-19pct\"]", "[]", "parameters.\"model\": `values` is empty"),
        ("\"random\"\ntrials = 200", "\"grid\"", "a grid needs `values`, or `points`"),
    ] {
        let message = changed(from, to).unwrap_err();
        assert!(message.contains(expected), "{to}: {message}");
    }
    let empty = Sweep::parse("[sweep]\nmethod = 'random'\ntrials = 1\n[parameters]").unwrap_err();
    assert!(empty.contains("there are no parameters"), "{empty}");
}

#[test]
fn random_values_lie_in_their_ranges_and_are_named_by_trial_and_parameter() {
    let sweep = Sweep::parse(RANDOM).unwrap();
    let trials = sweep.trials().unwrap();
    assert_eq!(trials.len(), 200);
    let numbers = |key: &str| -> Vec<f64> {
        let value = |trial: &Trial| {
            let (_, value) = trial.values.iter().find(|(name, _)| name == key).unwrap();
            value.as_float().or(value.as_integer().map(|n| n as f64)).unwrap()
        };
        trials.iter().map(value).collect()
    };
    let rates = numbers("recipe.rate");
    assert!(rates.iter().all(|rate| (1e-4..=1e-1).contains(rate)));
    // A third of the draws in each decade: 67 +- 4 standard deviations.
    for decade in [1e-4, 1e-3, 1e-2] {
        let inside = rates.iter().filter(|&&rate| decade <= rate && rate < 10.0 * decade).count();
        assert!((40..=94).contains(&inside), "{decade}: {inside}");
    }
    let momenta = numbers("recipe.momentum");
    let mean = momenta.iter().sum::<f64>() / 200.0;
    assert!((mean - 0.745).abs() < 4.0 * 0.49 / 12f64.sqrt() / 200f64.sqrt(), "{mean}");
    let batches = numbers("recipe.batch").into_iter().map(|batch| batch as u32);
    assert_eq!(batches.collect::<HashSet<_>>(), HashSet::from([8, 9, 10, 11]));
    assert_eq!(trials, sweep.trials().unwrap());

    // Another parameter, or more trials, leave the values as they are.
    let more = changed("trials = 200", "trials = 250").unwrap();
    assert_eq!(more.trials().unwrap()[..200], trials);
    assert!(more.continues(&sweep) && !sweep.continues(&more) && sweep.continues(&sweep));
    let less = changed("[parameters.model]\nvalues = [\"alexnet-64\", \"cifar-19pct\"]\n", "");
    let less = less.unwrap();
    assert!(!less.continues(&sweep));
    let first = &less.trials().unwrap()[7];
    assert!(first.values.iter().all(|value| trials[7].values.contains(value)));
    let other = changed("seed = 3", "seed = 4").unwrap();
    assert_ne!(other.trials().unwrap()[0].values, trials[0].values);
    // They can be typed: at most four digits, and the same when they are read back.
    for trial in &trials {
        for assignment in trial.assignments() {
            let (key, value) = assignment.split_once('=').unwrap();
            let read: toml::Table = format!("value = {value}").parse().unwrap();
            let (_, own) = trial.values.iter().find(|(name, _)| name == key).unwrap();
            assert_eq!(read["value"], *own, "{assignment}");
        }
    }
}

#[test]
fn a_grid_has_every_combination() {
    let text = "[sweep]\nmethod = 'grid'\n[parameters]\na.values = [1, 'x']\n\
                b = { log-uniform = [0.01, 1], points = 3 }\nc.int = [1, 2]";
    let trials = Sweep::parse(text).unwrap().trials().unwrap();
    let shown: Vec<String> = trials.iter().map(Trial::summary).collect();
    assert_eq!(shown.len(), 2 * 3 * 2);
    assert_eq!(shown[0], "a=1 b=0.01 c=1");
    assert_eq!(shown[3], "a=1 b=0.1 c=2");
    assert_eq!(shown[11], "a=x b=1.0 c=2");
    let many = "[sweep]\nmethod = 'grid'\n[parameters]\na.int = [1, 200]\nb.int = [1, 200]";
    assert!(Sweep::parse(many).unwrap_err().contains("more than 10000 trials"));
}

/// Hyperband's most aggressive bracket for R = 81, eta = 3 (Li et al. 2018, table 1), and others.
#[test]
fn rungs_are_those_of_a_bracket_of_hyperband() {
    let pairs = |trials, eta, min_epochs, epochs| -> Vec<(usize, u32)> {
        let rungs = rungs(trials, eta, min_epochs, epochs).into_iter();
        rungs.map(|rung| (rung.trials, rung.epochs)).collect()
    };
    assert_eq!(pairs(81, 3, 1, 81), [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)]);
    assert_eq!(pairs(20, 3, 1, 9), [(20, 1), (6, 3), (2, 9)]);
    assert_eq!(pairs(20, 3, 3, 9), [(20, 3), (6, 9)]);
    assert_eq!(pairs(4, 2, 1, 90), [(4, 23), (2, 45), (1, 90)]);
    assert_eq!(pairs(1, 3, 1, 81), [(1, 81)]);
    assert_eq!(pairs(5, 3, 10, 9), [(5, 9)]);
    assert_eq!(pairs(10_000, 100, 1, u32::MAX).len(), 3);
}

/// Errors by a formula: they fall with epochs, and the order of the trials changes on the way.
/// Trial 4 diverges, trial 5 ends with `loss_of_5`. Has enough after some calls.
#[derive(Default)]
struct Formula {
    calls: Vec<(usize, Option<u32>)>,
    saved: String,
    enough: Option<usize>,
    loss_of_5: Option<f64>,
}

impl TrialRunner for Formula {
    type Error = String;

    fn train(
        &mut self,
        trial: &Trial,
        epochs: Option<u32>,
        _: &mut dyn Observer,
    ) -> Result<Option<RungResult>, String> {
        if self.enough == Some(self.calls.len()) {
            return Ok(None);
        }
        self.calls.push((trial.number, epochs));
        let done = epochs.unwrap_or(9);
        if trial.number == 4 {
            let reason = Some("step 3: the loss is NaN".to_string());
            return Ok(Some(RungResult { end: TrialEnd::Diverged, reason, ..Default::default() }));
        }
        let top1_error = 0.1 * ((trial.number * 7) % 10) as f64 / f64::from(done);
        let loss = self.loss_of_5.filter(|_| trial.number == 5).unwrap_or(1.0);
        let score = Some(Score { top1_error, loss, top5_error: Some(0.0), images: 10 });
        Ok(Some(RungResult { epochs: done, steps: 10, score, ..Default::default() }))
    }

    fn save(&mut self, results: &Results) -> Result<(), String> {
        self.saved = serde_json::to_string(results).unwrap();
        Ok(())
    }
}

fn sweep_of(method: &str) -> (Sweep, Vec<Trial>) {
    let sweep = changed("\"random\"\ntrials = 200", method).unwrap();
    let trials = sweep.trials().unwrap();
    (sweep, trials)
}

#[test]
fn halving_goes_on_with_the_best_and_resumes_where_it_was() {
    let (sweep, trials) = sweep_of("\"halving\"\ntrials = 9");
    let go = |results: &mut Results, formula: &mut Formula| {
        search(&sweep, &trials, 9, results, formula, &mut Silent).unwrap()
    };
    let (mut whole, mut formula) = (Results::default(), Formula::default());
    assert!(go(&mut whole, &mut formula));
    // Errors of the first rung: 0, .7, .4, .1, -, .5, .2, .9, .6.
    let first: Vec<_> = (0..9).map(|number| (number, Some(1))).collect();
    let later = [(0, Some(3)), (3, Some(3)), (6, Some(3)), (0, Some(9))];
    assert_eq!(formula.calls, [&first[..], &later].concat());
    assert_eq!(whole.best(sweep.metric).unwrap().trial, 0);
    let ranked: Vec<usize> = whole.ranked(sweep.metric).iter().map(|it| it.trial).collect();
    assert_eq!(ranked, [0, 3, 6, 2, 5, 8, 1, 7, 4]);

    for enough in 0..formula.calls.len() {
        let (mut results, mut begun) = (Results::default(), Formula::default());
        begun.enough = Some(enough);
        assert!(!go(&mut results, &mut begun));
        // What was saved is what is known, as after a kill.
        let mut results = match enough {
            0 => Results::default(),
            _ => Results::from_json(&begun.saved).unwrap(),
        };
        let mut resumed = Formula::default();
        assert!(go(&mut results, &mut resumed));
        assert_eq!([begun.calls, resumed.calls].concat(), formula.calls, "{enough}");
        assert_eq!(results, whole);
    }
}

#[test]
fn results_are_a_table_a_csv_file_and_json() {
    let (sweep, trials) = sweep_of("\"random\"\ntrials = 5");
    let (mut results, mut formula) = (Results::default(), Formula::default());
    search(&sweep, &trials, 9, &mut results, &mut formula, &mut Silent).unwrap();
    assert_eq!(formula.calls.len(), 5);
    let table = results.to_table(&sweep, &trials);
    let lines: Vec<&str> = table.lines().collect();
    assert!(
        lines[0].starts_with("trial") && lines[0].contains("model  batch  momentum"),
        "{table}"
    );
    assert!(lines[1].trim_start().starts_with("0  ") && lines[1].contains("0.00 %"), "{table}");
    assert!(lines[5].trim_start().starts_with("4  ") && lines[5].ends_with("diverged"), "{table}");
    let csv = results.to_csv(&sweep, &trials);
    let columns: Vec<usize> = csv.lines().map(|line| line.split(',').count()).collect();
    assert_eq!(columns, [1 + 4 + 7; 6], "{csv}");
    let json = results.to_json(&sweep, &trials);
    assert_eq!((json["best"].as_u64(), &json["metric"]), (Some(0), &"validation error".into()));
    assert_eq!(
        json["trials"][1]["values"]["recipe.rate"],
        trials[1].values[3].1.as_float().unwrap()
    );
    assert_eq!(Results::from_json(&json.to_string()).unwrap(), results);
}

/// A validation without a finite loss is no result, and cannot be written as JSON.
#[test]
fn a_trial_whose_validation_is_not_finite_has_diverged() {
    let (sweep, trials) = sweep_of("\"random\"\ntrials = 6");
    for loss in [f64::INFINITY, f64::NAN] {
        let mut formula = Formula { loss_of_5: Some(loss), ..Formula::default() };
        let mut results = Results::default();
        search(&sweep, &trials, 9, &mut results, &mut formula, &mut Silent).unwrap();
        let last = results.of(5, 0).unwrap();
        assert_eq!((last.end, last.score, last.epochs), (TrialEnd::Diverged, None, 9));
        let reason = format!("the loss of the last validation is {loss}");
        assert_eq!(last.reason.as_deref(), Some(&*reason));
        assert_eq!(Results::from_json(&formula.saved).unwrap(), results);
        assert_eq!((results.count(TrialEnd::Diverged), results.count(TrialEnd::Finished)), (2, 4));
    }
}
