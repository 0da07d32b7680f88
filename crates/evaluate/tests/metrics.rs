//! Quality measures equal those of scikit-learn, recorded by `metrics/make_metrics.py`.

use alexnet_evaluate::Tested;
use alexnet_evaluate::predictions::{BINS, PrecisionRecall, Predictions};
use serde_json::Value;

fn cases() -> Vec<Value> {
    serde_json::from_str(include_str!("metrics/metrics.json")).unwrap()
}

fn predictions(case: &Value) -> Predictions {
    let classes = case["classes"].as_u64().unwrap() as usize;
    let mut predictions = Predictions::new(classes);
    let values = case["sixty_fourths"].as_array().unwrap();
    let labels = case["labels"].as_array().unwrap();
    for (sample, (label, row)) in labels.iter().zip(values.chunks(classes)).enumerate() {
        let probabilities: Vec<f64> = row.iter().map(|p| p.as_f64().unwrap() / 64.0).collect();
        let label = label.as_u64().unwrap() as u32;
        predictions.push(Tested { sample: sample as u32, label, probabilities: &probabilities });
    }
    predictions
}

fn check(found: f64, expected: &Value, what: &str) {
    let expected = expected.as_f64().unwrap_or_else(|| panic!("{what}: {expected}"));
    assert!((found - expected).abs() < 1e-12, "{what}: {found}, scikit-learn has {expected}");
}

fn check_means(found: PrecisionRecall, expected: &Value, what: &str) {
    check(found.precision, &expected["precision"], what);
    check(found.recall, &expected["recall"], what);
    check(found.f1, &expected["f1"], what);
}

#[test]
fn measures_equal_those_of_scikit_learn() {
    for case in cases() {
        let name = case["name"].as_str().unwrap();
        let found = predictions(&case).quality();
        check(found.accuracy, &case["accuracy"], name);
        check(found.balanced_accuracy, &case["balanced_accuracy"], name);
        check_means(found.macro_mean, &case["macro"], name);
        check_means(found.weighted_mean, &case["weighted"], name);
        assert_eq!(found.auc.is_some(), !case["auc"].is_null(), "{name}");
        if let Some(auc) = found.auc {
            check(auc, &case["auc"], name);
        }
        check(found.calibration.error, &case["calibration_error"], name);
        let bins = &found.calibration.bins;
        let images: Vec<Value> = bins.iter().map(|bin| bin.images.into()).collect();
        assert_eq!(case["bin_images"], Value::from(images), "{name}");
        let used = bins.iter().filter(|bin| bin.images > 0);
        for (number, bin) in used.enumerate() {
            check(bin.accuracy, &case["bin_accuracies"][number], name);
            check(bin.confidence, &case["bin_confidences"][number], name);
        }
        assert_eq!(bins.len(), BINS);
    }
}

#[test]
fn measures_of_classes_equal_those_of_scikit_learn() {
    for case in cases() {
        let (name, predictions) = (case["name"].as_str().unwrap(), predictions(&case));
        for (class, found) in predictions.by_class().into_iter().enumerate() {
            let at = format!("{name}, class {class}");
            check(found.rates.precision, &case["precision"][class], &at);
            check(found.rates.recall, &case["recall"][class], &at);
            check(found.rates.f1, &case["f1"][class], &at);
            assert_eq!(case["images"][class], found.score.images, "{at}");
            let expected = &case["class_auc"][class];
            match predictions.auc_of(class as u32) {
                Some(auc) => check(auc, expected, &at),
                None => assert!(expected.is_null(), "{at}: {expected}"),
            }
        }
    }
}

#[test]
fn no_images_have_zeros_and_many_classes_no_area() {
    let none = Predictions::new(3).quality();
    assert_eq!((none.images, none.accuracy, none.auc), (0, 0.0, None));
    assert_eq!((none.macro_mean, none.calibration.error), (PrecisionRecall::default(), 0.0));
    let mut many = Predictions::new(101);
    let mut row = vec![0.0; 101];
    row[7] = 1.0;
    many.push(Tested { sample: 0, label: 7, probabilities: &row });
    many.push(Tested { sample: 1, label: 8, probabilities: &row });
    let quality = many.quality();
    assert_eq!((quality.auc, quality.accuracy), (None, 0.5));
    assert_eq!(quality.calibration.bins[BINS - 1].images, 2);
}
