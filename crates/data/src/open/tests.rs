use super::*;
use crate::scratch_dir::ScratchDir;

fn opened(what: &Path, options: &DatasetOptions) -> Result<Dataset> {
    open(what.to_str().unwrap(), options, &|_, _| ())
}

fn message(result: Result<Dataset>) -> String {
    result.expect_err("an error").to_string()
}

/// Two classes of 20 images each in `train`, two in `val`.
fn folder() -> ScratchDir {
    let folder = ScratchDir::new();
    for class in ["a", "b"] {
        for number in 0..20 {
            folder.png(&format!("train/{class}/{number}.png"), (8, 8), [number, 1, 2]);
        }
        folder.png(&format!("val/{class}/0.png"), (8, 8), [3, 4, 5]);
    }
    folder
}

#[test]
fn shapes_need_no_file() {
    let options = DatasetOptions { shapes: (20, 10), ..DatasetOptions::with_side(16) };
    let set = opened(Path::new("shapes"), &options).unwrap();
    assert_eq!((set.train.len(), set.test.len(), set.train.size()), (20, 10, (16, 16)));
    assert_eq!(set.train.classes(), set.test.classes());
}

#[test]
fn a_folder_reads_alike_from_memory_and_from_disk() {
    let folder = folder();
    let near = opened(folder.path(), &DatasetOptions::with_side(8)).unwrap();
    let far =
        opened(folder.path(), &DatasetOptions { memory_limit: 0, ..DatasetOptions::with_side(8) })
            .unwrap();
    let (mut a, mut b) = (ReadBuffer::default(), ReadBuffer::default());
    for index in 0..40 {
        assert_eq!(near.train.read(index, &mut a), far.train.read(index, &mut b));
        assert_eq!(near.train.label(index), far.train.label(index));
    }
}

#[test]
fn a_watched_read_gives_the_same_set() {
    let folder = folder();
    let (what, options) = (folder.path().to_str().unwrap(), DatasetOptions::with_side(8));
    let set = open_watched(what, &options, ReadTimeouts::default(), &mut |_, _| true);
    let (watched, plain) = (set.unwrap().unwrap(), opened(folder.path(), &options).unwrap());
    for (a, b) in [(watched.train, plain.train), (watched.test, plain.test)] {
        assert_eq!(crate::fingerprint(&*a), crate::fingerprint(&*b));
    }
}

#[test]
fn progress_reaches_the_end() {
    let furthest = std::sync::Mutex::new((0, 0));
    let options = DatasetOptions::with_side(8);
    let tell = |done, all| {
        let mut furthest = furthest.lock().unwrap();
        *furthest = (done, all).max(*furthest);
    };
    open(folder().path().to_str().unwrap(), &options, &tell).unwrap();
    assert_eq!(*furthest.lock().unwrap(), (42, 42));
}

#[test]
fn an_unknown_folder_is_an_error_that_lists_the_layouts() {
    let folder = ScratchDir::new();
    let options = DatasetOptions::with_side(8);
    let said = message(opened(&folder.path().join("nowhere"), &options));
    assert!(said.contains("nothing of this name") && said.contains("`shapes`"), "{said}");
    let file = folder.write("file", b"");
    assert!(message(opened(&file, &options)).contains("neither a folder"));
    folder.write("data_batch_1", b"");
    assert!(message(opened(folder.path(), &options)).contains("Python version"));
}

#[test]
fn mnist_is_recognised_by_its_files() {
    let folder = ScratchDir::new();
    folder
        .write("train-images-idx3-ubyte", &[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 7, 9]);
    folder.write("train-labels-idx1-ubyte", &[0, 0, 8, 1, 0, 0, 0, 2, 0, 1]);
    folder.write("t10k-images-idx3-ubyte", &[0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 5]);
    folder.write("t10k-labels-idx1-ubyte", &[0, 0, 8, 1, 0, 0, 0, 1, 1]);
    let set = opened(folder.path(), &DatasetOptions::with_side(1)).unwrap();
    assert_eq!((set.train.len(), set.test.len(), set.test.label(0)), (2, 1, 1));
    assert_eq!(set.train.read(1, &mut ReadBuffer::default()).unwrap(), [9; 3]);
    assert_eq!(stored_side(folder.path().to_str().unwrap()), Ok(Some(1)));
    assert_eq!(stored_side("nothing"), Ok(None));

    // As torchvision lays it out, from every folder above.
    let above = ScratchDir::new();
    std::fs::create_dir_all(above.path().join("data/MNIST")).unwrap();
    std::fs::rename(folder.path(), above.path().join("data/MNIST/raw")).unwrap();
    for below in ["data", "data/MNIST"] {
        let place = above.path().join(below);
        let set = opened(&place, &DatasetOptions::with_side(1)).unwrap();
        assert_eq!((set.train.len(), set.test.len(), set.test.label(0)), (2, 1, 1));
        assert!(set.notes[0].contains("MNIST/raw: this folder is used"), "{:?}", set.notes);
        assert_eq!(stored_side(place.to_str().unwrap()), Ok(Some(1)));
    }
}

#[test]
fn classes_have_names_besides_their_ids() {
    let folder = ScratchDir::new();
    for wnid in ["n01440764", "n02012849"] {
        for part in ["train", "val"] {
            folder.png(&format!("{part}/{wnid}/1.png"), (8, 8), [1, 2, 3]);
        }
    }
    let names = |options: &DatasetOptions| opened(folder.path(), options).unwrap().class_names;
    let options = DatasetOptions::with_side(8);
    assert!(names(&options).is_empty());
    folder.write("words.txt", b"n02012849\tcrane\nn01440764\ttench, Tinca tinca\n");
    assert_eq!(names(&options), ["tench, Tinca tinca", "crane"]);
    let file = folder.write("mine.txt", b"one\ntwo\n");
    let labelling = Labelling { class_names: Some(file), ..Labelling::default() };
    let mut options = DatasetOptions { labelling, ..options };
    assert_eq!(names(&options), ["one", "two"]);
    folder.write("mine.txt", b"one\ntwo\nthree\n");
    let said = message(opened(folder.path(), &options));
    assert!(said.contains("mine.txt: 3 names for 2 classes"), "{said}");
    options.labelling.class_names = Some("no such file".into());
    assert!(message(opened(folder.path(), &options)).contains("no such file"));
}

#[test]
fn tiny_imagenet_can_be_opened_unpacked() {
    let folder = ScratchDir::new();
    for wnid in ["n01443537", "n02124075"] {
        for number in 0..3 {
            folder.png(&format!("t/train/{wnid}/images/{wnid}_{number}.JPEG"), (8, 8), [1, 2, 3]);
        }
        folder.write(&format!("t/train/{wnid}/{wnid}_boxes.txt"), b"x");
    }
    folder.png("t/val/images/val_0.JPEG", (8, 8), [1, 2, 3]);
    folder.png("t/test/images/test_0.JPEG", (8, 8), [1, 2, 3]);
    folder.write("t/val/val_annotations.txt", b"val_0.JPEG\tn02124075\t0\t32\t44\t62\n");
    folder.write("t/words.txt", b"n01443537\tgoldfish\n");
    for below in ["", "t"] {
        let set = opened(&folder.path().join(below), &DatasetOptions::with_side(8)).unwrap();
        assert_eq!((set.train.len(), set.test.len(), set.test.label(0)), (6, 1, 1));
        assert_eq!(set.class_names, ["goldfish", ""]);
        let notes = set.notes.join("\n");
        assert!(notes.contains("alexnet data prepare --from"), "{notes}");
    }
}

#[test]
fn a_few_bad_files_are_noted_and_many_are_refused() {
    let folder = folder();
    folder.write("train/a/7.png", b"no image");
    let options = DatasetOptions::with_side(8);
    let set = opened(folder.path(), &options).unwrap();
    assert!(set.notes[0].contains("1 of 40 images cannot be read"), "{:?}", set.notes);
    assert!(set.notes[0].contains("7.png"), "{:?}", set.notes);

    for number in 0..11 {
        folder.write(&format!("train/b/{number}.png"), b"no image");
    }
    let said = message(opened(folder.path(), &options));
    assert!(said.contains("12 of 40") && said.contains("7.png"), "{said}");
}

#[test]
fn a_folder_without_any_readable_image() {
    let folder = ScratchDir::new();
    for name in ["a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg"] {
        folder.write(name, b"no image");
    }
    for memory_limit in [0, 1 << 30] {
        let options = DatasetOptions { memory_limit, ..DatasetOptions::with_side(8) };
        let said = message(opened(folder.path(), &options));
        assert!(said.contains("none of 2 images can be read"), "{said}");
    }
}
