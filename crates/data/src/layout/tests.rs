//! Layouts as people download them: the right classes and images, or a message.

use super::tree::DiskTree;
use super::*;
use crate::scratch_dir::ScratchDir;
use std::os::unix::fs::symlink;

/// Files, all of them images but for what their names say.
fn made(files: &[&str]) -> ScratchDir {
    let folder = ScratchDir::new();
    files.iter().for_each(|name| drop(folder.write(name, b"")));
    folder
}

fn arranged(folder: &ScratchDir, below: &str) -> Result<Arranged> {
    arrange(&DiskTree::new(&folder.path().join(below)), &Labelling::default())
}

fn said(folder: &ScratchDir) -> String {
    arranged(folder, "").map(drop).expect_err("an error").to_string()
}

/// Every image as `class path`, training first.
fn images(arranged: &Arranged) -> [Vec<String>; 2] {
    [&arranged.train, &arranged.test].map(|set| {
        let name = |(label, path): &(u32, PathBuf)| {
            format!("{} {}", arranged.classes[*label as usize].id, path.display())
        };
        set.iter().map(name).collect()
    })
}

fn ids(arranged: &Arranged) -> Vec<&str> {
    arranged.classes.iter().map(|class| &class.id[..]).collect()
}

#[test]
fn splits_under_all_their_names() {
    for (train, test) in [
        ("train", "val"),
        ("Train", "Test"),
        ("TRAIN", "TEST"),
        ("training", "validation"),
        ("Training", "Testing"),
        ("train", "valid"),
        ("training_set", "test_set"),
        ("Training Set", "Validation Set"),
        ("trainset", "testset"),
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("training_set/training_set", "test_set/test_set"),
        ("asl_alphabet_train/asl_alphabet_train", "asl_alphabet_test"),
        ("archive/train", "archive/test"),
        ("archive/my data/Train", "archive/my data/Test"),
        ("images/train", "images/val"),
        ("dataset/images/train", "dataset/images/valid"),
    ] {
        let files = [
            format!("{train}/cat/1.jpg"),
            format!("{train}/dog/1.JPG"),
            format!("{train}/dog/2.jpg"),
            format!("{test}/cat/3.jpg"),
            format!("{test}/dog/4.Jpeg"),
        ];
        let folder = made(&files.each_ref().map(|name| &name[..]));
        folder.write("README.md", b"");
        folder.write("archive/info.txt", b"");
        let found = arranged(&folder, "").unwrap();
        let wanted = [
            vec![
                format!("cat {}", files[0]),
                format!("dog {}", files[1]),
                format!("dog {}", files[2]),
            ],
            vec![format!("cat {}", files[3]), format!("dog {}", files[4])],
        ];
        assert_eq!(images(&found), wanted, "{train} {test}");
        let inner = arranged(&folder, Path::new(train).parent().unwrap().to_str().unwrap());
        if !train.contains("_train/") && !train.contains("_set/") {
            assert_eq!(inner.unwrap().test.len(), 2, "{train}");
        }
    }
}

#[test]
fn several_folders_for_the_same_are_refused() {
    for two in [["train", "Training"], ["val", "valid"], ["test", "Test_Set"]] {
        let folder = made(&["train/cat/1.jpg", "train/dog/1.jpg"]);
        for name in two {
            folder.write(&format!("{name}/cat/1.jpg"), b"");
            folder.write(&format!("{name}/dog/1.jpg"), b"");
        }
        let said = said(&folder);
        let both = two.iter().all(|name| said.contains(&format!("`{name}`")));
        assert!(both && said.contains("are the same split"), "{said}");
    }
}

#[test]
fn val_comes_before_test_and_the_other_is_named() {
    let folder = made(&[
        "train/cat/1.jpg",
        "train/dog/1.jpg",
        "valid/cat/2.jpg",
        "valid/dog/2.jpg",
        "test/cat/3.jpg",
        "test/dog/3.jpg",
    ]);
    let found = arranged(&folder, "").unwrap();
    assert_eq!(images(&found)[1], ["cat valid/cat/2.jpg", "dog valid/dog/2.jpg"]);
    assert!(found.notes[0].contains("test: not used, because"), "{:?}", found.notes);
}

#[test]
fn test_images_without_labels_are_not_tested_on() {
    for test in ["test/1.jpg", "test/test/1.jpg", "test1/1.jpg", "Test/images/1.jpg"] {
        let folder = made(&["train/cat/1.jpg", "train/cat/2.jpg", "train/dog/1.jpg", test]);
        let found = arranged(&folder, "").unwrap();
        assert_eq!((found.train.len(), found.test.len()), (2, 1), "{test}");
        assert!(images(&found)[1][0].starts_with("cat train/cat/"));
        let notes = found.notes.join("\n");
        assert!(notes.contains("without labels: not used"), "{notes}");
        assert!(notes.contains("1 of 3 images are held out"), "{notes}");
        // Where there is another set with labels, that one is used.
        folder.write("val/cat/7.jpg", b"");
        folder.write("val/dog/7.jpg", b"");
        assert_eq!(arranged(&folder, "").unwrap().test.len(), 2);
    }
}

#[test]
fn other_folders_are_not_taken_for_splits() {
    // A class called train among vehicles; classes with words such as `test tube`.
    let folder = made(&["bus/1.jpg", "car/1.jpg", "train/1.jpg", "train/2.jpg"]);
    let found = arranged(&folder, "").unwrap();
    assert_eq!(ids(&found), ["bus", "car", "train"]);
    assert!(found.notes[0].contains("it is used as a class"), "{:?}", found.notes);
    let folder = made(&["bullet train/1.jpg", "test tube/1.jpg", "latest/1.jpg"]);
    assert_eq!(ids(&arranged(&folder, "").unwrap()), ["bullet train", "latest", "test tube"]);
}

#[test]
fn test_images_without_training_images_are_an_error() {
    for name in ["test", "val", "Validation"] {
        let folder = made(&[&format!("{name}/cat/1.jpg"), &format!("{name}/dog/1.jpg")]);
        let text = said(&folder);
        assert!(text.contains(&format!("`{name}` and no `train` folder")), "{text}");
        assert_eq!(ids(&arranged(&folder, name).unwrap()), ["cat", "dog"]);
        folder.write("cat/1.jpg", b"");
        folder.write("dog/1.jpg", b"");
        let text = said(&folder);
        assert!(text.contains("may be a class, like `cat`, or the test images"), "{text}");
    }
}

#[test]
fn the_error_for_a_flat_folder_explains_how_to_give_labels() {
    for (files, at) in [
        (&["1.jpg", "2.jpg"][..], ""),
        (&["train/cat.0.jpg", "train/dog.0.jpg", "test/1.jpg"], "train"),
        (&["train/train/cat.0.jpg", "test/test/1.jpg"], "train/train"),
    ] {
        let text = said(&made(files));
        assert!(text.contains("images and no folders of classes"), "{text}");
        assert!(text.contains("a table of labels") && text.contains("label-from"), "{text}");
        assert!(text.contains(&format!("{at}: ")), "{text}");
    }
}

#[test]
fn an_error_lists_several_data_sets() {
    let mut files = Vec::new();
    for set in ["a", "b"] {
        for part in ["train", "test"] {
            files.extend(["cat", "dog"].map(|class| format!("{set}/{part}/{class}/1.jpg")));
        }
    }
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let folder = made(&files);
    let text = said(&folder);
    let [a, b] = ["a", "b"].map(|name| folder.path().join(name).display().to_string());
    assert!(text.contains("several data sets") && text.contains(&a) && text.contains(&b), "{text}");
    assert_eq!(arranged(&folder, "a").unwrap().train.len(), 2);
}

#[test]
fn folders_of_folders_are_refused() {
    for files in [
        &["color/cat/1.jpg", "color/dog/1.jpg", "grey/cat/1.jpg", "grey/dog/1.jpg"][..],
        &["no/1.jpg", "yes/1.jpg", "brain/no/1.jpg", "brain/yes/1.jpg"],
        &["cat/1.jpg", "dog/1.jpg", "zoo/cat/1.jpg"],
        &[
            "train/fold1/cat/1.jpg",
            "train/fold1/dog/1.jpg",
            "train/fold2/cat/1.jpg",
            "train/fold2/dog/1.jpg",
        ],
    ] {
        let folder = made(files);
        let text = said(&folder);
        assert!(text.contains("contains only folders"), "{text}");
        let labelling = Labelling { from: Some("^([^/]+)/".into()), ..Labelling::default() };
        let found = arrange(&DiskTree::new(folder.path()), &labelling).unwrap();
        let all = found.train.len() + found.test.len();
        assert!(all >= files.len(), "the message's remedy works: {found:?}");
    }
    // Folders that only wrap a class's images are none of this.
    let folder = made(&["n1/images/1.jpg", "n2/n2/1.jpg", "n3/1.jpg", "n3/more/2.jpg"]);
    let found = arranged(&folder, "").unwrap();
    assert_eq!(ids(&found), ["n1", "n2", "n3"]);
    assert!(images(&found).concat().contains(&"n1 n1/images/1.jpg".to_owned()));
}

#[test]
fn system_files_are_neither_classes_nor_images() {
    let folder = made(&["cat/1.jpg", "cat/2.jpg", "dog/1.jpg", "dog/2.jpg"]);
    let before = arranged(&folder, "").unwrap();
    for junk in [
        "__MACOSX/cat/._1.jpg",
        "__MACOSX/._cat",
        ".DS_Store",
        "cat/.DS_Store",
        "cat/._1.jpg",
        "cat/Thumbs.db",
        "dog/desktop.ini",
        "Thumbs.db",
        ".ipynb_checkpoints/1.jpg",
        "dog/.ipynb_checkpoints/1-checkpoint.jpg",
        "@eaDir/x.jpg",
        "cat/@eaDir/1.jpg",
        "System Volume Information/x.jpg",
        "$RECYCLE.BIN/x.jpg",
    ] {
        folder.write(junk, b"");
    }
    assert_eq!(arranged(&folder, "").unwrap(), before);
}

#[test]
fn skipped_files_are_counted_and_named() {
    let folder = made(&[
        "train/cat/1.jpg",
        "train/dog/1.jpg",
        "val/cat/1.jpg",
        "val/dog/1.jpg",
        "train/cat/a.heic",
        "train/cat/b.AVIF",
        "train/dog/notes.txt",
        "val/dog/.hidden.jpg",
        "train/stray.png",
    ]);
    symlink("nowhere", folder.path().join("train/dog/gone.jpg")).unwrap();
    symlink("..", folder.path().join("train/dog/up")).unwrap();
    let found = arranged(&folder, "").unwrap();
    assert_eq!((found.train.len(), found.test.len()), (2, 2));
    let note = found.notes.join("\n");
    for part in [
        "1 HEIC file was skipped",
        "train/cat/a.heic: convert to JPEG",
        "1 AVIF file was skipped",
        "1 file that is not an image was skipped, e.g. ",
        "train/dog/notes.txt",
        "4 files skipped: ",
        "1 images outside the folders of classes (such as train/stray.png)",
        "1 hidden images (such as val/dog/.hidden.jpg)",
        "1 dangling links (such as train/dog/gone.jpg)",
        "1 links to folders",
    ] {
        assert!(note.contains(part), "{part}: {note}");
    }
    let folder = made(&["cat/1.jpg", "dog/a.heic"]);
    assert!(said(&folder).contains("no image in this class's folder (it contains a.heic"));
}

#[test]
fn links_to_folders_of_classes_are_followed_and_loops_refused() {
    let folder = made(&["store/x/1.jpg", "store/y/1.jpg", "data/z/1.jpg"]);
    let link = |to: &str, name: &str| {
        symlink(folder.path().join(to), folder.path().join(name)).unwrap();
    };
    link("store/x", "data/cat");
    link("store/y", "data/dog");
    let found = arranged(&folder, "data").unwrap();
    assert_eq!(ids(&found), ["cat", "dog", "z"]);
    let error = |what: &str| {
        let text = arranged(&folder, "data").unwrap_err().to_string();
        assert!(text.contains(what), "{text}");
    };
    link("store/x", "data/cow");
    error("cow: the same folder as class `cat`");
    std::fs::remove_file(folder.path().join("data/cow")).unwrap();
    for to in ["data", ""] {
        link(to, "data/loop");
        error("loop: this link leads to a folder that contains it");
        std::fs::remove_file(folder.path().join("data/loop")).unwrap();
    }
    // Whole splits may be links, too.
    link("data", "train");
    link("data", "val");
    assert_eq!(arranged(&folder, "").unwrap().test.len(), 3);
}

#[test]
fn names_that_become_equal_are_refused() {
    for two in [["Cat", "cat"], ["caf\u{e9}", "cafe\u{301}"], ["dog", "dog "]] {
        let files = two.map(|name| format!("{name}/1.jpg"));
        let text = said(&made(&files.each_ref().map(|name| &name[..])));
        assert!(text.contains("differ only in case or encoding"), "{text}");
    }
    use std::os::unix::ffi::OsStrExt;
    let folder = ScratchDir::new();
    for byte in [0xff, 0xfe] {
        let name = folder.path().join(OsStr::from_bytes(&[b'a', byte]));
        std::fs::create_dir(&name).unwrap();
        std::fs::write(name.join("1.jpg"), b"").unwrap();
    }
    assert!(said(&folder).contains("the same displayed name `a\u{fffd}`"));
    // Names of one set in another case than the other's.
    let folder = made(&["train/Cat/1.jpg", "train/dog/1.jpg", "val/cat/1.jpg", "val/dog/1.jpg"]);
    let text = said(&folder);
    assert!(text.contains("class `Cat` is missing (spelled `cat` here)"), "{text}");
}

#[test]
fn classes_that_are_tested_and_not_trained_or_empty() {
    let files = ["train/cat/1.jpg", "train/dog/1.jpg", "val/cat/1.jpg", "val/dog/1.jpg"];
    let folder = made(&files);
    folder.write("val/cow/1.jpg", b"");
    assert!(said(&folder).contains("train: class `cow` is missing"));
    let folder = made(&files);
    std::fs::create_dir(folder.path().join("train/cow")).unwrap();
    assert!(said(&folder).contains("cow: no image in this class's folder"));
    let folder = made(&files[..2]);
    std::fs::create_dir(folder.path().join("val")).unwrap();
    assert!(said(&folder).contains("val: no test image"));
    let folder = made(&["val/cat/1.jpg", "val/dog/1.jpg"]);
    std::fs::create_dir(folder.path().join("train")).unwrap();
    assert!(said(&folder).contains("train: no training image"));
    assert!(said(&ScratchDir::new()).contains("no folder with images"));
}

#[test]
fn a_folder_that_cannot_be_read_is_named() {
    let folder = made(&["cat/1.jpg", "dog/1.jpg"]);
    let closed = folder.path().join("dog");
    let permit = |mode| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    permit(0);
    if std::fs::read_dir(&closed).is_err() {
        let text = said(&folder);
        assert!(text.contains("dog: Permission denied"), "{text}");
    } else {
        eprintln!("SKIPPED: this user may read every folder");
    }
    permit(0o755);
}

/// Two classes as Kaggle hands out ImageNet; `val` lists its images out of order.
fn kaggle() -> ScratchDir {
    let folder = made(&[
        "ILSVRC/Data/CLS-LOC/train/n01440764/n01440764_1.JPEG",
        "ILSVRC/Data/CLS-LOC/train/n02012849/n02012849_1.JPEG",
        "ILSVRC/Data/CLS-LOC/train/n02012849/n02012849_2.JPEG",
        "ILSVRC/Data/CLS-LOC/val/ILSVRC2012_val_00000001.JPEG",
        "ILSVRC/Data/CLS-LOC/val/ILSVRC2012_val_00000002.JPEG",
        "ILSVRC/Data/CLS-LOC/val/ILSVRC2012_val_00000003.JPEG",
        "ILSVRC/Data/CLS-LOC/test/ILSVRC2012_test_00000001.JPEG",
        "ILSVRC/Annotations/CLS-LOC/train/n01440764/n01440764_1.xml",
        "ILSVRC/ImageSets/CLS-LOC/val.txt",
        "LOC_sample_submission.csv",
    ]);
    let names = b"n01440764 tench, Tinca tinca\nn02012849 crane\nn03126707 crane\n";
    folder.write("LOC_synset_mapping.txt", names);
    let solution = b"ImageId,PredictionString\n\
        ILSVRC2012_val_00000003,n01440764 1 2 3 4 \n\
        ILSVRC2012_val_00000001,n02012849 85 1 499 272 n02012849 1 2 3 4 \n";
    folder.write("LOC_val_solution.csv", solution);
    folder
}

#[test]
fn kaggles_imagenet_from_its_root_and_every_level_below() {
    let folder = kaggle();
    for below in ["", "ILSVRC", "ILSVRC/Data", "ILSVRC/Data/CLS-LOC"] {
        let found = arranged(&folder, below).unwrap();
        let [train, test] = images(&found);
        assert_eq!(train.len(), 3, "{below}");
        let name = |image: &String| {
            let (class, path) = image.split_once(' ').unwrap();
            format!("{class} {}", path.rsplit('/').next().unwrap())
        };
        let test: Vec<String> = test.iter().map(name).collect();
        let wanted =
            ["n01440764 ILSVRC2012_val_00000003.JPEG", "n02012849 ILSVRC2012_val_00000001.JPEG"];
        assert_eq!(test, wanted, "{below}");
        let words: Vec<&str> = found.classes.iter().map(|class| &class.words[..]).collect();
        assert_eq!(words, ["tench, Tinca tinca", "crane"], "{below}");
        let notes = found.notes.join("\n");
        assert!(notes.contains("test: images without labels"), "{notes}");
        assert!(notes.contains("1 images without a label"), "{notes}");
        assert!(found.train.iter().all(|(_, path)| folder.path().join(below).join(path).is_file()));
    }
    let above = ScratchDir::new();
    std::fs::rename(folder.path(), above.path().join("imagenet")).unwrap();
    assert_eq!(arranged(&above, "").unwrap().test.len(), 2);
}

#[test]
fn kaggles_imagenet_with_something_missing() {
    let folder = kaggle();
    std::fs::remove_file(folder.path().join("LOC_val_solution.csv")).unwrap();
    let text = said(&folder);
    assert!(text.contains("no LOC_val_solution.csv") && text.contains("CLS-LOC/val"), "{text}");
    for (line, wanted) in [
        ("ILSVRC2012_val_00000001,", "line 2 has no class"),
        ("ILSVRC2012_val_00000001,cat 1 2 3 4", "line 2 has no class"),
        ("ILSVRC2012_val_00000001,n99999999 1 2 3 4", "of class n99999999, which"),
        ("ILSVRC2012_val_00000009,n01440764 1 2 3 4", "names no image in"),
        (
            "ILSVRC2012_val_00000001,n01440764 1\nILSVRC2012_val_00000001,n02012849 1",
            "line 3: ILSVRC2012_val_00000001 has another class on an earlier line",
        ),
    ] {
        let text = format!("ImageId,PredictionString\n{line}\n");
        folder.write("LOC_val_solution.csv", text.as_bytes());
        let text = said(&folder);
        assert!(text.contains(wanted), "{text}");
    }
    // Sorted into folders by one of the usual scripts, no list is needed.
    let val = folder.path().join("ILSVRC/Data/CLS-LOC/val");
    for (number, wnid) in [(1, "n02012849"), (2, "n01440764"), (3, "n01440764")] {
        let name = format!("ILSVRC2012_val_0000000{number}.JPEG");
        std::fs::create_dir_all(val.join(wnid)).unwrap();
        std::fs::rename(val.join(&name), val.join(wnid).join(&name)).unwrap();
    }
    let found = arranged(&folder, "").unwrap();
    assert_eq!((found.train.len(), found.test.len()), (3, 3));
    assert_eq!(found.classes[1].words, "crane");
}
