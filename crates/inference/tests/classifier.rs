//! A classifier's results do not depend on the calling thread or on the number of waiting images.

use alexnet_inference::device::Placement;
use alexnet_inference::features::{layer, walk};
use alexnet_inference::{Classifier, Error, Image, Model, Options, Views, example};
use data::{Loader, Source};
use evaluate::Stop;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use tensor::Choice;

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn open(views: Views) -> (Folder, Classifier) {
    let folder = Folder(example::folder());
    let mut options = Options::default();
    options.placement = Placement { device: Choice::Cpu, threads: 1, precision: None };
    (options.batch, options.views) = (4, views);
    let classifier = Classifier::open_with(&folder.0, &options).unwrap();
    (folder, classifier)
}

/// Images of many colours and sizes.
fn images(count: usize) -> Vec<Image> {
    let image = |i: usize| {
        let (height, width) = (8 + i % 5, 8 + i % 7);
        let pixels = (0..height * width * 3).map(|at| (at * (i + 3) * 37 % 251) as u8);
        Image { height, width, pixels: pixels.collect() }
    };
    (0..count).map(image).collect()
}

#[test]
fn batched_images_have_the_probabilities_of_single_ones() {
    for views in [Views::Centre, Views::Ten, Views::Nine] {
        let (_folder, classifier) = open(views);
        let images = images(11);
        let alone: Vec<Vec<f32>> =
            images.iter().map(|image| classifier.predict(image).unwrap().probabilities).collect();
        assert!(alone.iter().all(|row| (row.iter().sum::<f32>() - 1.0).abs() < 1e-5));
        assert_ne!(alone[0], alone[1]);
        let together = classifier.predict_all(&images).unwrap();
        for (together, alone) in together.iter().zip(&alone) {
            testkit::close(&together.probabilities, alone, 1e-6);
        }
        assert!(classifier.predict_all(&[]).unwrap().is_empty());
        // Concurrent requests get the results of their own images.
        std::thread::scope(|scope| {
            for (image, alone) in images.iter().zip(&alone) {
                let classifier = &classifier;
                scope.spawn(move || {
                    for _ in 0..5 {
                        let found = classifier.predict(image).unwrap().probabilities;
                        testkit::close(&found, alone, 1e-6);
                    }
                });
            }
        });
    }
}

#[test]
fn the_best_classes_come_first_with_their_names() {
    let (_folder, classifier) = open(Views::Centre);
    let prediction = classifier.predict(&images(1)[0]).unwrap();
    let top = prediction.top(5);
    assert_eq!(top.len(), 2, "there are two classes");
    assert!(top[0].probability >= top[1].probability);
    assert_eq!(top[0].probability, prediction.probabilities[top[0].class]);
    assert_eq!(top[0].title, classifier.model().titles()[top[0].class]);
}

#[test]
fn features_are_a_layers_output_and_an_unknown_layer_is_an_error() {
    let (_folder, classifier) = open(Views::Centre);
    let image = &images(2)[1];
    let hidden = classifier.features(None, image).unwrap();
    assert_eq!(hidden.len(), 6 * 6 * 4);
    assert_eq!(hidden, classifier.features(Some("relu1"), image).unwrap());
    // A convolution's own output is that before its ReLU, every time.
    for _ in 0..2 {
        let before = classifier.features(Some("conv1"), image).unwrap();
        assert!(before.iter().any(|&value| value < 0.0) && before.iter().any(|&value| value > 0.0));
        let rectified: Vec<f32> = before.iter().map(|value| value.max(0.0)).collect();
        testkit::bits_equal(&rectified, &hidden, "relu1");
    }
    let scores = classifier.features(Some("fc2"), image).unwrap();
    let exp: Vec<f64> = scores.iter().map(|&score| f64::from(score).exp()).collect();
    let probabilities: Vec<f64> = exp.iter().map(|e| e / exp.iter().sum::<f64>()).collect();
    testkit::close(&classifier.predict(image).unwrap().probabilities, &probabilities, 1e-6);
    let error = classifier.features(Some("conv2"), image).unwrap_err();
    assert!(matches!(error, Error::Layer(_)) && error.to_string().contains("did you mean"));
    // It goes on after that.
    assert_eq!(classifier.features(None, image).unwrap(), hidden);
}

#[test]
fn a_predictor_gives_the_layers_that_it_was_opened_with() {
    let (_folder, classifier) = open(Views::Centre);
    let model = classifier.model();
    let placement = Placement { device: Choice::Cpu, threads: 1, precision: None };
    let open = |layers: &[&str]| model.predictor_for_layers(2, placement, layers, &mut |_| ());
    let spec = &model.weights.about.model;
    let fused = open(&[]).unwrap();
    assert_eq!(fused.find_layer("conv1"), None);
    assert_eq!(fused.find_layer("relu1"), fused.find_activated("conv1"));
    let error = layer(&fused, spec, Some("conv1")).unwrap_err();
    assert!(matches!(&error, Error::NotKept { layer } if layer == "conv1"), "{error}");
    let error = open(&["conv1", "conv2"]).unwrap_err();
    assert!(matches!(error, Error::Layer(_)), "{error}");

    let mut apart = open(&["fc2", "conv1"]).unwrap();
    let rows = ["relu1", "conv1", "fc2"].map(|name| layer(&apart, spec, Some(name)).unwrap());
    assert_eq!(rows.map(|row| apart.output_name(row).to_string()), ["relu1", "conv1", "fc2"]);
    assert_eq!(apart.find_activated("conv1"), Some(rows[0]));
    let source: Arc<dyn Source> = Arc::new(data::Fake::new(5, 8, 2));
    let mut loader = Loader::new(source, Views::Centre.plan(2, (8, 8)), 1, 0);
    let (mut outputs, mut steps) = (Vec::new(), Vec::new());
    let mut each = |sample: usize, found: Option<&[&[f32]]>| {
        let found: Vec<Vec<f32>> = found.unwrap().iter().map(|layer| layer.to_vec()).collect();
        outputs.push((sample, found));
    };
    let mut watch = |done, of| steps.push((done, of));
    let stop = Stop::new();
    assert!(walk(&mut apart, &mut loader, &rows, &stop, &mut watch, &mut each).unwrap());
    assert_eq!(steps, [(2, 5), (4, 5), (5, 5)]);
    let mut plain = open(&[]).unwrap();
    let both = ["relu1", "fc2"].map(|name| layer(&plain, spec, Some(name)).unwrap());
    let mut expected = Vec::new();
    let mut each = |_: usize, found: Option<&[&[f32]]>| {
        expected.push(found.unwrap().iter().map(|layer| layer.to_vec()).collect::<Vec<_>>());
    };
    walk(&mut plain, &mut loader, &both, &stop, &mut |_, _| (), &mut each).unwrap();
    for (at, (sample, found)) in outputs.iter().enumerate() {
        assert_eq!((*sample, found.len()), (at, 3));
        testkit::bits_equal(&found[0], &expected[at][0], "relu1");
        testkit::bits_equal(&found[2], &expected[at][1], "fc2");
        assert!(found[1].iter().any(|&value| value < 0.0));
        let rectified: Vec<f32> = found[1].iter().map(|value| value.max(0.0)).collect();
        testkit::bits_equal(&rectified, &found[0], "conv1");
    }
    assert_eq!(outputs.len(), 5);
}

#[test]
fn a_file_is_classified_like_its_pixels() {
    let (folder, classifier) = open(Views::Centre);
    let image = &images(3)[2];
    let path = folder.0.join("image.png");
    let file = fs::File::create(&path).unwrap();
    let mut encoder = png::Encoder::new(file, image.width as u32, image.height as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().unwrap().write_image_data(&image.pixels).unwrap();
    let found = classifier.predict_file(&path).unwrap().probabilities;
    assert_eq!(found, classifier.predict(image).unwrap().probabilities);
    let error = classifier.predict_file(folder.0.join("nothing.png")).unwrap_err();
    assert!(error.to_string().contains("nothing.png"), "{error}");
}

#[test]
fn invalid_images_and_missing_weights_are_errors() {
    let (folder, classifier) = open(Views::Centre);
    let broken = Image { height: 9, width: 9, pixels: vec![0; 10] };
    let error = classifier.predict(&broken).unwrap_err().to_string();
    assert!(error.contains("9 x 9 has 243 bytes, not 10"), "{error}");
    assert!(classifier.predict(&Image::default()).is_err());
    let empty = folder.0.join("empty");
    fs::create_dir(&empty).unwrap();
    let error = Classifier::open(&empty).unwrap_err();
    assert!(matches!(error, Error::Weights(_)), "{error}");
    assert!(error.to_string().contains("neither weights nor checkpoints"), "{error}");
    assert!(Model::open(folder.0.join("none.safetensors"), &mut |_| ()).is_err());
}
