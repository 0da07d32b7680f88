use super::*;

fn tiny() -> Weights {
    let input = Input::new(Mean::Color, 1.0);
    let classes = vec!["cat".to_string(), "dog \"x\"".to_string()];
    let model = Spec::image("tiny", 4, 4, 3).linear("fc1", 2);
    let weight = Values { shape: vec![2, 48], values: (0..96).map(|i| i as f32).collect() };
    Weights {
        about: About { format: Weights::FORMAT, classes, class_names: vec![], input, model },
        mean: Values { shape: vec![3], values: vec![0.25, 0.5, f32::MIN_POSITIVE] },
        parameters: vec![
            ("fc1.bias".into(), Values { shape: vec![2], values: vec![-1.0, 1.0] }),
            ("fc1.weight".into(), weight),
        ],
    }
}

#[test]
fn written_weights_are_read_back() {
    let bytes = tiny().to_bytes();
    assert_eq!(Weights::from_bytes(&bytes), Ok(tiny()));
    assert_eq!(bytes, tiny().to_bytes(), "equal networks give equal files");
}

/// A layer may be named like the optimizer's state, whose names have a parameter's behind theirs.
#[test]
fn layers_named_like_the_state_of_an_optimizer_are_read() {
    for name in ["average", "velocity", "second_moment"] {
        let mut weights = tiny();
        weights.about.model = Spec::image("tiny", 4, 4, 3).linear(name, 2);
        for (parameter, _) in &mut weights.parameters {
            *parameter = parameter.replace("fc1", name);
        }
        assert_eq!(Weights::from_bytes(&weights.to_bytes()), Ok(weights.clone()), "{name}");

        let mut checkpoint = weights.clone();
        for prefix in [VELOCITY, SECOND_MOMENT, AVERAGE] {
            checkpoint.parameters.extend(weights.parameters.iter().map(|(name, values)| {
                let values = values.values.iter().map(|value| value + 1.0).collect();
                let shape = weights.parameters.iter().find(|(own, _)| own == name).unwrap();
                let shape = shape.1.shape.clone();
                (format!("{prefix}{name}"), Values { shape, values })
            }));
        }
        let read = Weights::from_bytes(&checkpoint.to_bytes()).unwrap();
        assert_eq!(read.parameters.len(), 2, "{name}");
        for ((parameter, found), (_, own)) in read.parameters.iter().zip(&weights.parameters) {
            let moved: Vec<f32> = own.values.iter().map(|value| value + 1.0).collect();
            assert_eq!(found.values, moved, "{parameter} is the average");
        }
    }
}

#[test]
fn a_tensor_that_is_not_finite_is_reported() {
    let path = std::env::temp_dir().join(format!("alexnet-nan-{}", std::process::id()));
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for (place, name) in ["input.mean", "fc1.bias", "fc1.weight"].iter().enumerate() {
            let mut weights = tiny();
            let values = match place {
                0 => &mut weights.mean.values,
                at => &mut weights.parameters[at - 1].1.values,
            };
            *values.last_mut().unwrap() = bad;
            weights.write(&path).unwrap();
            let error = Weights::read(&path).unwrap_err();
            let Error::NotFinite { tensor, .. } = &error else { panic!("{error}") };
            assert_eq!(tensor, name);
            assert!(error.to_string().contains("not finite"), "{error}");
        }
    }
    tiny().write(&path).unwrap();
    assert_eq!(Weights::read(&path).unwrap(), tiny());
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn inconsistent_metadata_is_refused() {
    type Change = fn(&mut Weights);
    let wrong: [(Change, &str); 9] = [
        (|w| w.about.classes.push("cow".into()), "3 classes, but its network has 2 outputs"),
        (|w| drop(w.about.classes.pop()), "1 classes, but its network has 2 outputs"),
        (|w| w.about.input.side = Some(1_000_000_000), "input.side is 1000000000"),
        (|w| w.about.input.side = Some(0), "input.side is 0"),
        (|w| w.about.input.side = Some(3), "which is not a crop of images of 3 x 3"),
        (|w| w.about.input.scale = f64::NAN.into(), "input.scale is NaN"),
        (|w| w.about.input.mean = Mean::Image, "`input.mean` is [3]"),
        (|w| w.about.model.input = [4, 4, 1], "which is not a crop"),
        (|w| w.about.model.rows.clear(), "must end in a `linear` row"),
    ];
    for (change, expected) in wrong {
        let mut weights = tiny();
        change(&mut weights);
        let error = Weights::from_bytes(&weights.to_bytes()).unwrap_err();
        assert!(error.contains(expected), "{expected}: {error}");
    }
    // The size of the mean image differs from that of the images.
    let mut weights = tiny();
    weights.about.input = Input { mean: Mean::Image, side: Some(6), ..weights.about.input };
    weights.mean = Values { shape: vec![4, 4, 3], values: vec![0.5; 48] };
    let error = Weights::from_bytes(&weights.to_bytes()).unwrap_err();
    assert!(error.contains("images of side 6 need [6, 6, 3]"), "{error}");
    weights.about.input.side = Some(4);
    assert_eq!(Weights::from_bytes(&weights.to_bytes()), Ok(weights));
}

#[test]
fn corrupt_files_are_refused() {
    let bytes = tiny().to_bytes();
    for cut in [0, 7, 40, bytes.len() - 1] {
        let error = Weights::from_bytes(&bytes[..cut]).unwrap_err();
        assert!(error.contains("not an intact"), "{cut}: {error}");
    }
    let foreign =
        safetensors::serialize(Vec::<(&str, safetensors::tensor::TensorView)>::new(), None)
            .unwrap();
    let error = Weights::from_bytes(&foreign).unwrap_err();
    assert!(error.contains("not written by this program"), "{error}");
    let path = std::env::temp_dir().join(format!("alexnet-header-{}", std::process::id()));
    for header in ["[1]", "7", "{}", "{\"__metadata__\": 3}"] {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        std::fs::write(&path, bytes).unwrap();
        Weights::about(&path, &ImportOptions::default()).unwrap_err();
    }
    std::fs::remove_file(&path).unwrap();
    let error = Weights::read(Path::new("/no/such.safetensors")).unwrap_err().to_string();
    assert!(error.starts_with("/no/such.safetensors: cannot read"), "{error}");
}
