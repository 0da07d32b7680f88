use super::*;
use crate::import::ElementType;
use layers::window;

/// A file in memory, whose tensors count up from a number of their own.
struct Counting {
    format: Format,
    tensors: Vec<TensorInfo>,
}

impl Counting {
    fn new(format: Format, tensors: &[(&str, &[usize])]) -> Counting {
        let info = |&(name, shape): &(&str, &[usize])| {
            let is_count = shape.is_empty();
            let element = if is_count { ElementType::I64 } else { ElementType::F32 };
            TensorInfo { name: name.to_string(), shape: shape.to_vec(), element }
        };
        Counting { format, tensors: tensors.iter().map(info).collect() }
    }
}

impl TensorReader for Counting {
    fn format(&self) -> Format {
        self.format
    }

    fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    fn read(&mut self, index: usize) -> Result<Vec<f32>, String> {
        let elements: usize = self.tensors[index].shape.iter().product();
        Ok((0..elements).map(|at| (1000 * index + at) as f32).collect())
    }
}

fn network() -> Spec {
    Spec::image("small", 4, 4, 3)
        .conv("conv1", 2, window(1))
        .batch_norm()
        .relu()
        .pool(window(2).stride(2))
        .linear("fc2", 5)
        .relu()
        .linear("fc3", 7)
}

const TORCH: [(&str, &[usize]); 11] = [
    ("features.0.weight", &[2, 3, 1, 1]),
    ("features.0.bias", &[2]),
    ("features.1.weight", &[2]),
    ("features.1.bias", &[2]),
    ("features.1.running_mean", &[2]),
    ("features.1.running_var", &[2]),
    ("features.1.num_batches_tracked", &[]),
    ("classifier.1.weight", &[5, 8]),
    ("classifier.1.bias", &[5]),
    ("classifier.3.weight", &[9, 5]),
    ("classifier.3.bias", &[9]),
];

#[test]
fn dropout_scales_in_training() {
    let file = Counting::new(Format::PyTorch, &TORCH);
    let mut spec = network();
    let last = spec.rows.pop().unwrap();
    let mut spec = spec.dropout(0.25);
    spec.rows.push(last);
    let fitted = Fitted::new(&file, &spec).unwrap();
    let dropout = fitted.spec.rows.iter().find_map(|row| match row {
        Row::Dropout(dropout) => Some((dropout.drop, dropout.inverted)),
        _ => None,
    });
    assert_eq!(dropout, Some((0.25, true)));
}

#[test]
fn filters_and_the_first_linear_layer_are_transposed() {
    let mut file = Counting::new(Format::PyTorch, &TORCH);
    let fitted = Fitted::new(&file, &network()).unwrap();
    assert_eq!(fitted.spec.classes(), Ok(9), "the class count is the file's");
    let read = fitted.read(&mut file).unwrap();
    let names: Vec<&str> = read.iter().map(|(name, _)| name.as_str()).collect();
    let norm = names[2].split('.').next().unwrap().to_string();
    let [scale, shift, mean, variance] =
        ["scale", "shift", "mean", "variance"].map(|role| format!("{norm}.{role}"));
    let expected = [
        "conv1.weight",
        "conv1.bias",
        &scale,
        &shift,
        &mean,
        &variance,
        "fc2.weight",
        "fc2.bias",
        "fc3.weight",
        "fc3.bias",
    ];
    assert_eq!(names, expected);
    assert_eq!(read[0].1.shape, [2, 1, 1, 3]);
    assert_eq!(read[4].1.values, [4000.0, 4001.0]);
    // Column c * 4 + pixel of PyTorch is column pixel * 2 + c here.
    let row: Vec<f32> = [0, 4, 1, 5, 2, 6, 3, 7].iter().map(|at| (7000 + at) as f32).collect();
    assert_eq!(read[6].1.values[..8], row);
    assert_eq!(read[8].1.values[..3], [9000.0, 9001.0, 9002.0]);
}

#[test]
fn caffes_first_filters_have_blue_first() {
    let tensors = TORCH.map(|(name, shape)| (name, shape));
    let mut file = Counting::new(Format::Caffe, &tensors);
    let read = Fitted::new(&file, &network()).unwrap().read(&mut file).unwrap();
    assert_eq!(read[0].1.values, [2.0, 1.0, 0.0, 5.0, 4.0, 3.0]);
}

#[test]
fn sorted_and_unnamed_tensors_are_put_in_order() {
    let mut sorted = TORCH;
    sorted.sort();
    let file = Counting::new(Format::Safetensors, &sorted);
    let by_name = |file: &Counting| -> Vec<String> {
        let fitted = Fitted::new(file, &network()).unwrap();
        fitted.parameters.iter().map(|p| file.tensors[p.tensor].shape.len().to_string()).collect()
    };
    let expected = ["4", "1", "1", "1", "1", "1", "2", "1", "2", "1"];
    assert_eq!(by_name(&file), expected);
    let numbered: Vec<String> = (0..TORCH.len()).map(|at| format!("onnx::Conv_{at}")).collect();
    let unnamed: Vec<(&str, &[usize])> =
        numbered.iter().zip(TORCH).map(|(name, (_, shape))| (name.as_str(), shape)).collect();
    assert_eq!(by_name(&Counting::new(Format::Onnx, &unnamed)), expected);
}

/// The tensors that become the weights of each layer, by their names in the file.
fn weights_of(file: &Counting, spec: &Spec) -> Vec<String> {
    let fitted = Fitted::new(file, spec).unwrap();
    let weights = fitted.parameters.iter().filter(|own| own.name.ends_with(".weight"));
    weights.map(|own| file.tensors[own.tensor].name.clone()).collect()
}

/// Ten layers of equal shapes, and a last one.
fn equal_layers(name: impl Fn(usize) -> String) -> Spec {
    let conv = |spec: Spec, at| spec.conv(&name(at), 3, window(1));
    (1..=10).fold(Spec::image("equal", 4, 4, 3), conv).linear("last", 2)
}

fn equal_tensors(names: &[String]) -> Vec<(String, Vec<usize>)> {
    let of = |name: &String| {
        [(format!("{name}.weight"), vec![3, 3, 1, 1]), (format!("{name}.bias"), vec![3])]
    };
    let last = [("last.weight".into(), vec![2, 48]), ("last.bias".into(), vec![2])];
    let mut tensors: Vec<_> = names.iter().flat_map(of).chain(last).collect();
    tensors.sort();
    tensors
}

fn counting(format: Format, tensors: &[(String, Vec<usize>)]) -> Counting {
    let tensors: Vec<_> = tensors.iter().map(|(name, shape)| (&name[..], &shape[..])).collect();
    Counting::new(format, &tensors)
}

#[test]
fn numbers_in_names_are_compared_as_numbers() {
    let spec = equal_layers(|at| format!("block{at}"));
    let names: Vec<String> = (1..=10).map(|at| format!("conv{at}")).collect();
    let file = counting(Format::Safetensors, &equal_tensors(&names));
    let expected: Vec<String> = names.iter().map(|name| format!("{name}.weight")).collect();
    assert_eq!(weights_of(&file, &spec)[..10], expected);
    for (less, more) in [
        ("features.3", "features.10"),
        ("conv2", "conv10"),
        ("conv2_2", "conv2_10"),
        ("conv2", "conv2_1"),
        ("conv1_2", "conv11"),
        ("layer1.conv9", "layer2.conv1"),
    ] {
        assert_eq!(natural(less, more), Ordering::Less, "{less}, {more}");
        assert_eq!(natural(more, less), Ordering::Greater, "{less}, {more}");
    }
}

#[test]
fn layers_of_equal_shapes_are_paired_by_their_names() {
    let name = |at: usize| format!("c{}", 11 - at);
    let spec = equal_layers(name);
    let names: Vec<String> = (1..=10).map(name).collect();
    let expected: Vec<String> = names.iter().map(|name| format!("{name}.weight")).collect();
    for format in [Format::Safetensors, Format::PyTorch, Format::Npz, Format::Onnx, Format::Caffe] {
        let file = counting(format, &equal_tensors(&names));
        assert_eq!(weights_of(&file, &spec)[..10], expected, "{format}");
    }
    // One name is another: the order of the names.
    let mut other = names.clone();
    other[9] = "c0".into();
    let file = counting(Format::Safetensors, &equal_tensors(&other));
    assert_eq!(weights_of(&file, &spec)[0], "c0.weight");
}

#[test]
fn a_linear_layer_may_be_stored_as_a_convolution() {
    let mut tensors = TORCH;
    tensors[7].1 = &[5, 2, 2, 2];
    tensors[9].1 = &[9, 5, 1, 1];
    let file = Counting::new(Format::PyTorch, &tensors);
    assert_eq!(Fitted::new(&file, &network()).unwrap().spec.classes(), Ok(9));
}

#[test]
fn a_bias_has_as_many_values_as_the_layer_has_outputs() {
    let mut tensors = TORCH;
    tensors[10].1 = &[7];
    let file = Counting::new(Format::PyTorch, &tensors);
    let reason = Fitted::new(&file, &network()).unwrap_err();
    let line = reason.lines().find(|line| line.starts_with("! fc3")).unwrap();
    assert!(line.contains("[9, 5] [7] classifier.3"), "{reason}");
}

#[test]
fn a_mismatch_pairs_layers_that_fit_in_any_order() {
    let mut tensors = TORCH.to_vec();
    tensors.rotate_left(7); // the classifier first
    tensors[0].1 = &[6, 8];
    let file = Counting::new(Format::PyTorch, &tensors);
    let reason = Fitted::new(&file, &network()).unwrap_err();
    let marked: Vec<&str> = reason.lines().filter(|line| line.starts_with('!')).collect();
    assert_eq!(marked.len(), 1, "{reason}");
    assert!(marked[0].contains("fc2") && marked[0].contains("classifier.1"), "{reason}");
}

#[test]
fn a_mismatch_is_short_and_escapes_names() {
    let names: Vec<String> = (0..60).map(|at| format!("a\u{1b}{at}.weight")).collect();
    let tensors: Vec<(&str, &[usize])> =
        names.iter().map(|name| (name.as_str(), &[1usize][..])).collect();
    let reason = Fitted::new(&Counting::new(Format::PyTorch, &tensors), &network()).unwrap_err();
    assert!(reason.contains("a\\u{1b}0") && !reason.contains('\u{1b}'), "{reason}");
    assert!(reason.ends_with("  and 20 more\n"), "{reason}");
}

#[test]
fn a_mismatch_lists_both_shapes() {
    let mut tensors = TORCH;
    tensors[7].1 = &[6, 8];
    let file = Counting::new(Format::PyTorch, &tensors);
    let reason = Fitted::new(&file, &network()).unwrap_err();
    let line = reason.lines().find(|line| line.starts_with("! fc2")).unwrap();
    assert!(line.contains("[5, 8] [5]") && line.contains("[6, 8] [5] classifier.1"), "{reason}");
    let other = Spec::image("other", 4, 4, 3).linear("fc1", 2);
    let reason = Fitted::among(&file, &[other, network()]).unwrap_err();
    assert!(reason.contains("do not fit `small`"), "the nearest one is compared: {reason}");
}

#[test]
fn networks_that_differ_without_weights_all_fit() {
    let file = Counting::new(Format::PyTorch, &TORCH);
    let mut other = network();
    other.name = "other".to_string();
    let fitted = Fitted::among(&file, &[network(), other]).unwrap();
    let names: Vec<&str> = fitted.iter().map(|fitted| fitted.spec.name.as_str()).collect();
    assert_eq!(names, ["small", "other"]);
}
