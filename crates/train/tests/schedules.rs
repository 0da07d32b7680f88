//! Learning rates before every step are those that PyTorch's schedulers give.
//!
//! `pytorch/schedules.py` recorded them; its numbers lie beside it.

use alexnet_train::recipe::Recipe;
use alexnet_train::recipes;
use alexnet_train::schedule::{Position, ScheduleState};
use serde::Deserialize;

#[derive(Deserialize)]
struct Recorded {
    rate: f64,
    epochs: u32,
    batches: usize,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    schedule: String,
    warmup: String,
    rates: Vec<f64>,
    momenta: Option<Vec<f64>>,
}

#[test]
fn rates_are_those_of_pytorch() {
    let Recorded { rate, epochs, batches, cases } =
        serde_json::from_str(include_str!("pytorch/schedules.json")).unwrap();
    assert_eq!(cases.len(), 17);
    for Case { schedule, warmup, rates, momenta } in cases {
        let warmup = (!warmup.is_empty()).then(|| toml::from_str(&warmup).unwrap());
        let schedule = toml::from_str(&schedule).unwrap();
        let recipe = Recipe { rate, epochs, schedule, warmup, ..recipes::paper() };
        recipe.check().unwrap();
        let text = toml::to_string(&recipe).unwrap();
        assert_eq!(toml::from_str::<Recipe>(&text).unwrap(), recipe, "{text}");
        let state = ScheduleState::default();
        assert_eq!(rates.len(), epochs as usize * batches);
        for (step, theirs) in rates.iter().enumerate() {
            let at =
                Position { epoch: (step / batches + 1) as u32, batch: step % batches, batches };
            let setting = recipe.setting(&state, at);
            let ours = rate * setting.rate;
            // PyTorch computes each rate from the last one: its rounding errors add up.
            let place = format!("{} {:?} step {step}", recipe.schedule.summary(), recipe.warmup);
            assert!((ours - theirs).abs() <= 1e-12, "{place}: {ours}, PyTorch {theirs}");
            let row = recipe.table_row("fc8.weight", &setting);
            assert_eq!(row[0], ours as f32);
            match &momenta {
                None => assert_eq!(row[1], 0.9),
                Some(momenta) => {
                    assert!((f64::from(row[1]) - momenta[step]).abs() < 1e-7, "{place}")
                }
            }
        }
    }
}
