//! A run in one sentence, and what it was about: data set, classes, date.

use crate::percent;
use crate::run::Run;

/// How good the network is, in one sentence; `None` if nothing was measured.
pub fn verdict(run: &Run) -> Option<String> {
    let kept = run.kept_weights().and_then(|kept| kept.validation);
    let last = kept.or(run.curves.validation.last());
    let (error, images) = match (&run.tested, last) {
        (Some(tested), _) => (tested.top1_error, tested.on.as_str()),
        (None, Some(point)) => (point.top1_error, "the validation images"),
        (None, None) => return None,
    };
    let guessing = run.classes.filter(|&classes| classes > 1).map(|classes| {
        let error = percent(1.0 - 1.0 / classes as f64);
        format!("; guessing among {classes} classes is wrong for {error}")
    });
    let guessing = guessing.unwrap_or_default();
    Some(format!("The network is wrong for {} of {images}{guessing}.", percent(error)))
}

/// The data set, the number of classes and the start of a run, as far as they are known.
pub fn facts(run: &Run) -> Vec<String> {
    let config = run.config.as_deref().unwrap_or_default();
    let data = match (setting(config, "fake_data"), setting(config, "data")) {
        (Some(_), _) => Some("data: random images".to_string()),
        (None, Some(data)) => {
            let data = data.trim_matches(['"', '\'']).trim_end_matches('/');
            Some(format!("data: {}", data.rsplit('/').next().unwrap_or(data)))
        }
        (None, None) => None,
    };
    let classes = run.classes.map(|classes| format!("{classes} classes"));
    let started = run.status["started"].as_str().map(|time| format!("started {}", date(time)));
    [data, classes, started].into_iter().flatten().collect()
}

/// A setting of a run's configuration that is in no table, as it is written.
fn setting<'a>(config: &'a str, name: &str) -> Option<&'a str> {
    let lines = config.lines().take_while(|line| !line.starts_with('['));
    let pairs = lines.filter_map(|line| line.split_once('='));
    pairs.map(|(key, value)| (key.trim(), value.trim())).find(|pair| pair.0 == name).map(|it| it.1)
}

/// `2026-11-30T20-32-42Z` as `2026-11-30 20:32 UTC`; other texts as they are.
fn date(time: &str) -> String {
    match time.split_once('T') {
        Some((day, rest)) if rest.len() == 9 && rest.ends_with('Z') && rest.is_ascii() => {
            format!("{day} {}:{} UTC", &rest[..2], &rest[3..5])
        }
        _ => time.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Curves, TestSummary};
    use serde_json::json;

    #[test]
    fn a_run_is_judged_by_its_test_or_its_validation() {
        let line = r#"{"kind":"validation","step":2,"loss":1.5,"top1_error":0.5}"#;
        let mut run = Run { classes: Some(10), curves: Curves::parse(line), ..Run::default() };
        let guessing = "; guessing among 10 classes is wrong for 90.00 %.";
        let expected =
            format!("The network is wrong for 50.00 % of the validation images{guessing}");
        assert_eq!(verdict(&run).unwrap(), expected);
        let on = "8 test images, one centre view each".to_string();
        run.tested = Some(TestSummary { on, top1_error: 0.25, ..TestSummary::default() });
        assert!(verdict(&run).unwrap().starts_with("The network is wrong for 25.00 % of 8 test"));
        assert_eq!(verdict(&Run::default()), None);
    }

    #[test]
    fn facts_come_from_the_configuration_and_the_status() {
        let config = "model = \"m\"\ndata = \"/sets/cifar10/\"\n[recipe]\nfake_data = 3\n";
        let status = json!({ "started": "2026-11-30T20-32-42Z" });
        let run = Run { config: Some(config.into()), status, classes: Some(10), ..Run::default() };
        assert_eq!(facts(&run), ["data: cifar10", "10 classes", "started 2026-11-30 20:32 UTC"]);
        let config = Some("data = \"shapes\"\nfake_data = 64\n".to_string());
        assert_eq!(facts(&Run { config, ..Run::default() }), ["data: random images"]);
    }
}
