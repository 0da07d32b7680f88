use super::*;
use crate::scratch_dir::ScratchDir;

/// As with no word on labels.
fn split(folder: &ScratchDir) -> Result<TrainTest<Folder>> {
    Folder::split(folder.path(), &Labelling::default(), 8)
}

/// `count` images for each class below `part`.
fn fill(folder: &ScratchDir, part: &str, classes: &[(&str, usize)]) {
    for (class, count) in classes {
        for number in 0..*count {
            let color = [number as u8, class.len() as u8, 7];
            folder.png(&format!("{part}/{class}/{number:03}.png"), (8, 8), color);
        }
    }
}

fn message(result: Result<impl Sized>) -> String {
    result.err().expect("an error").to_string()
}

#[test]
fn classes_and_files_come_in_the_order_of_their_names() {
    let folder = ScratchDir::new();
    fill(&folder, ".", &[("bee", 2), ("ant", 3)]);
    folder.png("ant/deeper/x.png", (8, 8), [0; 3]);
    folder.write("ant/notes.txt", b"passed over");
    folder.write("ant/.hidden.png", b"passed over");
    folder.write("readme", b"passed over: not in a class's folder");
    let set = Folder::open(folder.path(), 8).unwrap();
    assert_eq!(set.classes(), ["ant", "bee"]);
    let names: Vec<String> = (0..set.len())
        .map(|i| set.path(i).strip_prefix(folder.path()).unwrap().display().to_string())
        .collect();
    let wanted = [
        "ant/000.png",
        "ant/001.png",
        "ant/002.png",
        "ant/deeper/x.png",
        "bee/000.png",
        "bee/001.png",
    ];
    assert_eq!(names, wanted);
    assert_eq!((0..6).map(|i| set.label(i)).collect::<Vec<_>>(), [0, 0, 0, 0, 1, 1]);
}

#[test]
fn images_are_squared_and_enlarging_is_reported() {
    let folder = ScratchDir::new();
    folder.png("a/big.png", (40, 60), [1, 2, 3]);
    folder.png("b/small.png", (3, 5), [4, 5, 6]);
    let set = Folder::open(folder.path(), 16).unwrap();
    let mut buffer = ReadBuffer::default();
    assert_eq!(set.read(0, &mut buffer).unwrap(), [1, 2, 3].repeat(256));
    assert!(set.remarks().is_empty());
    assert_eq!(set.read(1, &mut buffer).unwrap(), [4, 5, 6].repeat(256));
    assert!(set.remarks()[0].contains("small.png"), "{:?}", set.remarks());
}

#[test]
fn train_goes_with_val_or_test() {
    for other in ["val", "test"] {
        let folder = ScratchDir::new();
        fill(&folder, "train", &[("a", 3), ("b", 2)]);
        fill(&folder, other, &[("a", 1), ("b", 1)]);
        let split = split(&folder).unwrap();
        assert_eq!((split.train.len(), split.test.len(), split.notes.len()), (5, 2, 0));
    }
}

#[test]
fn a_tenth_of_each_class_is_held_out_with_a_note() {
    for part in [".", "train"] {
        let folder = ScratchDir::new();
        fill(&folder, part, &[("a", 30), ("b", 2), ("c", 1)]);
        let (first, again) = (split(&folder).unwrap(), split(&folder).unwrap());
        let count = |set: &Folder, label| set.files.iter().filter(|file| file.0 == label).count();
        let counts = |set: &Folder| [0, 1, 2].map(|label| count(set, label));
        assert_eq!((counts(&first.train), counts(&first.test)), ([27, 1, 1], [3, 1, 0]));
        assert_eq!(first.test.files, again.test.files);
        assert!(first.test.files.iter().all(|file| !first.train.files.contains(file)));
        assert!(first.notes[0].contains("4 of 33 images are held out"), "{:?}", first.notes);
    }
}

#[test]
fn classes_of_one_image_are_tested_on_what_they_train_on() {
    let folder = ScratchDir::new();
    fill(&folder, ".", &[("a", 1), ("b", 1)]);
    let split = split(&folder).unwrap();
    assert_eq!(split.train.files, split.test.files);
    assert!(split.notes[0].contains("the test images are the training images"));
}

#[test]
fn invalid_layouts_are_rejected() {
    let folder = ScratchDir::new();
    assert!(message(split(&folder)).contains("no folder with images"));

    fill(&folder, ".", &[("only", 2)]);
    assert!(message(split(&folder)).contains("only one class, `only`"));

    std::fs::create_dir(folder.path().join("void")).unwrap();
    let said = message(split(&folder));
    assert!(said.contains("void: no image") && said.contains("remove the folder"), "{said}");
}

#[test]
fn both_sets_must_have_the_same_classes() {
    let (wide, narrow) = ([("a", 1), ("b", 1), ("c", 1)], [("a", 1), ("c", 1)]);
    for (train, val, lacking) in [(&wide[..], &narrow[..], "val"), (&narrow, &wide, "train")] {
        let folder = ScratchDir::new();
        fill(&folder, "train", train);
        fill(&folder, "val", val);
        let said = message(split(&folder));
        let path = folder.path().join(lacking).display().to_string();
        assert!(said.starts_with(&path) && said.contains("class `b` is missing"), "{said}");
    }
    // What is missing is said, too, where a test set is left with one class.
    let folder = ScratchDir::new();
    fill(&folder, "train", &[("a", 1), ("b", 1)]);
    fill(&folder, "val", &[("a", 1)]);
    let said = message(split(&folder));
    assert!(said.contains("val: class `b` is missing"), "{said}");
}
