//! NumPy's archives, as `import/make_numpy.py` writes them.

#[path = "import/expected.rs"]
mod expected;

use alexnet_weights::import::{ElementType, Format, is_foreign, open};
use expected::{Expected, expected, fixture};

#[test]
fn arrays_of_every_type_are_read() {
    let path = fixture("numpy", "types.npz");
    assert!(is_foreign(&path));
    let mut file = open(&path).unwrap();
    assert_eq!(file.format(), Format::Npz);
    let names: Vec<_> = file.tensors().iter().map(|tensor| tensor.name.clone()).collect();
    assert_eq!(names, ["b.weight", "a.weight", "half", "scalar", "counts", "empty"]);
    for Expected { name, shape, values } in expected("numpy", "types.npz") {
        let at = names.iter().position(|found| *found == name).unwrap();
        assert_eq!(file.tensors()[at].shape, shape, "{name}");
        assert_eq!(file.read(at).unwrap(), values, "{name}");
    }
    assert_eq!(file.tensors()[4].element, ElementType::I64);
    let error = file.read(4).unwrap_err();
    assert!(error.contains("`counts` holds elements of type i64"), "{error}");
}

#[test]
fn what_is_not_read_is_explained() {
    for (name, expected) in [
        ("packed.npz", "is compressed, which is not read; save it with `numpy.savez`"),
        ("big.npz", "the array `weight` has the type `>f4`; save it with `.astype('<f4')`"),
    ] {
        let error = open(fixture("numpy", name)).err().unwrap().to_string();
        assert!(error.contains(name) && error.contains(expected), "{error}");
    }
}
