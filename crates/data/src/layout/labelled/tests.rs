use super::*;
use crate::layout::arrange;
use crate::layout::tree::DiskTree;
use crate::scratch_dir::ScratchDir;

/// Images of these names, and the table `name`.
fn made(images: &[&str], (name, table): (&str, &str)) -> ScratchDir {
    let folder = ScratchDir::new();
    images.iter().for_each(|name| drop(folder.write(name, b"")));
    folder.write(name, table.as_bytes());
    folder
}

fn found(folder: &ScratchDir) -> Arranged {
    arrange(&DiskTree::new(folder.path()), &Labelling::default()).unwrap()
}

fn said(folder: &ScratchDir, labelling: &Labelling) -> String {
    arrange(&DiskTree::new(folder.path()), labelling).unwrap_err().to_string()
}

/// `label path`, training and test images together, as the latter may be held out.
fn all(arranged: &Arranged) -> Vec<String> {
    let name = |(label, path): &(u32, PathBuf)| {
        format!("{} {}", arranged.classes[*label as usize].id, path.display())
    };
    let mut all: Vec<String> = arranged.train.iter().chain(&arranged.test).map(name).collect();
    all.sort();
    all.dedup(); // images of which there are too few are trained and tested on
    all
}

fn from(pattern: &str) -> Labelling {
    Labelling { from: Some(pattern.into()), ..Labelling::default() }
}

#[test]
fn tables_beside_images_are_found() {
    for (images, table) in [
        (["a.jpg", "b.png"], ("labels.csv", "filename,label\na.jpg,x\nb.png,y\n")),
        (["a.jpg", "b.png"], ("labels.csv", "id,breed\na,x\nb,y\n")),
        (["train/a.jpg", "train/b.png"], ("labels.csv", "id,breed\na,x\nb,y\n")),
        (["train/a.jpg", "train/b.png"], ("trainLabels.csv", "id,label\na,x\nb,y\n")),
        (["images/a.jpg", "images/b.png"], ("train.csv", "image_id,label\na,x\nb.png,y\n")),
        (["images/a.jpg", "images/b.png"], ("data.tsv", "path\tclass\na.jpg\tx\nb.png\ty\n")),
        (["train/x/a.jpg", "train/y/b.png"], ("l.csv", "file,label\nx/a.jpg,x\ny/b.png,y\n")),
        (["A.JPG", "b.png"], ("labels.csv", "image,label\na.jpg,x\nB.PNG,y\n")),
        (
            ["images/a.jpg", "images/b.png"],
            ("meta.csv", "filepath;label\n/kaggle/input/x/images/a.jpg;x\n.\\images\\b.png;y\n"),
        ),
        (["w/a.jpg", "w/b.png"], ("w/labels.csv", "id,label\na,x\nb,y\n")),
        (["w/images/a.jpg", "w/images/b.png"], ("w/labels.csv", "id,label\na,x\nb,y\n")),
    ] {
        let folder = made(&images, table);
        folder.write("sample_submission.csv", b"id,x,y\na,0,1\n");
        let wanted = [format!("x {}", images[0]), format!("y {}", images[1])];
        assert_eq!(all(&found(&folder)), wanted, "{table:?}");
    }
}

#[test]
fn test_images_without_labels_are_not_used() {
    // Kaggle's dog breeds, and its CIFAR-10, whose names begin anew in `test`.
    for (name, table) in [
        ("labels.csv", "id,breed\n1,pug\n2,boxer\n"),
        ("trainLabels.csv", "id,label\n1,pug\n2,boxer\n"),
    ] {
        let images = ["train/1.png", "train/2.png", "test/1.png", "test/2.png", "test/3.png"];
        let found = found(&made(&images, (name, table)));
        assert_eq!(all(&found), ["boxer train/2.png", "pug train/1.png"]);
        let notes = found.notes.join("\n");
        assert!(notes.contains("3 images without a label (such as test/1.png)"), "{notes}");
    }
}

#[test]
fn tables_and_columns_may_select_test_images() {
    let images = ["train/a.jpg", "train/b.jpg", "test/c.jpg", "test/d.jpg"];
    let folder = made(&images, ("Training_set.csv", "filename,label\na.jpg,x\nb.jpg,y\n"));
    folder.write("Testing_set.csv", b"filename\nc.jpg\nd.jpg\n");
    let arranged = found(&folder);
    assert_eq!(all(&arranged).len(), 2, "the test images have no labels");
    folder.write("Testing_set.csv", b"filename,label\nc.jpg,y\nd.jpg,x\n");
    let arranged = found(&folder);
    assert_eq!((arranged.train.len(), arranged.test.len()), (2, 2));
    assert_eq!(all(&arranged)[1], "x train/a.jpg");
    assert_eq!(all(&arranged)[0], "x test/d.jpg");

    let table =
        "filepaths,labels,data set\na.jpg,x,train\nb.jpg,y,train\nc.jpg,y,valid\nd.jpg,x,test\n";
    let images = ["a.jpg", "b.jpg", "c.jpg", "d.jpg"];
    let arranged = found(&made(&images, ("birds.csv", table)));
    assert_eq!((arranged.train.len(), arranged.test.len()), (2, 1));
    assert_eq!(arranged.test[0], (1, "c.jpg".into()));
    let notes = arranged.notes.join("\n");
    assert!(notes.contains("the test images are not used"), "{notes}");
    assert!(notes.contains("1 classes have no test image, such as `x`"), "{notes}");
}

#[test]
fn missing_duplicate_and_unlabelled_images_are_counted() {
    let table = "id,label\na,x\nb,y\nb,y\nc,\ngone,x\nlost,y\n";
    let folder = made(&["a.jpg", "b.jpg", "c.jpg", "d.jpg"], ("labels.csv", table));
    let arranged = found(&folder);
    assert_eq!(all(&arranged), ["x a.jpg", "y b.jpg"]);
    let notes = arranged.notes.join("\n");
    for part in [
        "2 rows name images that do not exist, such as",
        "labels.csv line 6: gone",
        "1 rows have no label",
        "1 rows repeat others",
        "1 images without a label (such as d.jpg)",
        "labels.csv: labels are read from this table",
    ] {
        assert!(notes.contains(part), "{part}: {notes}");
    }
    for (table, wanted) in [
        ("id,label\na,x\nb,y\na,z\n", "line 4: `a`: labelled `z` here and `x` before"),
        ("id,label\nq,x\nr,y\n", "none of its labelled images is below"),
        ("id,label\na,x\nb,x\n", "only one label, `x`"),
        ("id,label\na,Cat\nb,cat\n", "differ only in case"),
        ("id,healthy,rust\na,1,0\n", "a known name for labels"),
    ] {
        let folder = made(&["a.jpg", "b.jpg"], ("labels.csv", table));
        let text = said(&folder, &Labelling::default());
        assert!(text.contains(wanted), "{text}");
    }
    let folder = made(&["p/a.jpg", "q/a.jpg", "p/b.jpg"], ("labels.csv", "id,label\na,x\nb,y\n"));
    let labelling =
        Labelling { file: Some(folder.path().join("labels.csv")), ..Labelling::default() };
    assert!(said(&folder, &labelling).contains("`a`: ambiguous: p/a.jpg or q/a.jpg"));
}

#[test]
fn a_table_can_be_named_and_its_columns() {
    let folder = made(&["a.jpg", "b.jpg"], ("one.csv", "id,label\na,x\nb,y\n"));
    let elsewhere = ScratchDir::new();
    let path = elsewhere.write("two.csv", b"scan,healthy,rust\na,1,0\nb,0,1\n");
    let labelling = Labelling {
        file: Some(path),
        image_column: Some("scan".into()),
        label_column: Some("rust".into()),
        ..Labelling::default()
    };
    let arranged = arrange(&DiskTree::new(folder.path()), &labelling).unwrap();
    assert_eq!(all(&arranged), ["0 a.jpg", "1 b.jpg"]);
    folder.write("three.csv", b"id,label\na,y\nb,x\n");
    assert!(said(&folder, &Labelling::default()).contains("several tables of labels"));
    let named = Labelling { file: Some("three.csv".into()), ..Labelling::default() };
    let arranged = arrange(&DiskTree::new(folder.path()), &named).unwrap();
    assert_eq!(all(&arranged), ["x b.jpg", "y a.jpg"], "found beside the images");
    let missing = Labelling { file: Some("none.csv".into()), ..Labelling::default() };
    assert!(said(&folder, &missing).contains("none.csv"));
}

#[test]
fn numeric_labels_are_sorted_as_numbers() {
    let table = "id,label\na,10\nb,9\nc,0\nd,1\n";
    let arranged = found(&made(&["a.jpg", "b.jpg", "c.jpg", "d.jpg"], ("labels.csv", table)));
    let ids: Vec<&str> = arranged.classes.iter().map(|class| &class.id[..]).collect();
    assert_eq!(ids, ["0", "1", "9", "10"]);
    let notes = arranged.notes.join("\n");
    assert!(notes.contains("integers from 0 to 10, but no image has 2"), "{notes}");
}

#[test]
fn folders_of_classes_come_before_tables() {
    let table = ("labels.csv", "id,label\na,x\nb,y\n");
    let arranged = found(&made(&["cat/a.jpg", "dog/b.jpg"], table));
    assert_eq!(all(&arranged), ["cat cat/a.jpg", "dog dog/b.jpg"]);
}

#[test]
fn labels_from_the_names_of_files() {
    let cats = [
        "train/cat.0.jpg",
        "train/cat.1.jpg",
        "train/dog.0.jpg",
        "train/README.txt",
        "train/odd.jpg",
        "test1/1.jpg",
    ];
    for wrapped in ["", "dogs-vs-cats/", "a/b/"] {
        let names = cats.map(|name| format!("{wrapped}{name}"));
        let names = names.each_ref().map(|name| &name[..]);
        let folder = made(&names, ("sampleSubmission.csv", "id,label\n1,0\n"));
        let arranged = arrange(&DiskTree::new(folder.path()), &from("^([a-z]+)\\.[0-9]")).unwrap();
        let wanted = [
            format!("cat {wrapped}train/cat.0.jpg"),
            format!("cat {wrapped}train/cat.1.jpg"),
            format!("dog {wrapped}train/dog.0.jpg"),
        ];
        assert_eq!(all(&arranged), wanted);
        let notes = arranged.notes.join("\n");
        assert!(notes.contains("2 images without a label"), "{notes}");
        assert!(notes.contains("test1: no image has a label"), "{notes}");
    }
    // Test images with labels are tested on, and paths may be matched.
    let folder = made(&["train/a_1.png", "train/b_1.png", "val/b_2.png"], ("x", ""));
    let arranged = arrange(&DiskTree::new(folder.path()), &from("^(.)_")).unwrap();
    assert_eq!(arranged.test, [(1, "val/b_2.png".into())]);
    let folder = made(&["x/2019/1.png", "y/2019/1.png"], ("x.txt", ""));
    let arranged = arrange(&DiskTree::new(folder.path()), &from("^([^/]+)/")).unwrap();
    assert_eq!(all(&arranged), ["x x/2019/1.png", "y y/2019/1.png"]);
}

#[test]
fn names_that_give_no_labels() {
    let folder = made(&["train/cat.0.jpg", "val/cow.0.jpg", "train/dog.1.jpg"], ("x", ""));
    let text = said(&folder, &from("^([0-9]+)$"));
    assert!(text.contains("matches no image's name (not ") && text.contains("cat.0.jpg"), "{text}");
    let text = said(&folder, &from("^([a-z]+)"));
    assert!(text.contains("of class `cow`, which has no training image"), "{text}");
    assert!(said(&folder, &from("cat")).contains("0 groups"));
    assert!(said(&folder, &from("(at)")).contains("only one label"), "dogs do not fit");
}
