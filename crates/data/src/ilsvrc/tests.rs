use crate::collection::{Collection, FileLocation, LabelledFile};
use crate::scratch_dir::ScratchDir;
use crate::{Error, Result};
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use testkit::mat::MatFormat;
use testkit::{Miniature, Synset};

fn written(miniature: &Miniature) -> ScratchDir {
    let dir = ScratchDir::new();
    miniature.write(dir.path());
    dir
}

fn opened(dir: &Path) -> Result<Collection> {
    Collection::open(dir, &|_, _| ())
}

fn said(dir: &ScratchDir) -> String {
    opened(dir.path()).unwrap_err().to_string()
}

fn bytes(collection: &Collection, item: &LabelledFile) -> Vec<u8> {
    let mut bytes = Vec::new();
    collection.read(item, &mut bytes).unwrap();
    bytes
}

#[test]
fn the_archives_of_2012_become_a_collection() {
    let miniature = Miniature::new(2012);
    let dir = written(&miniature);
    let collection = opened(dir.path()).unwrap();
    let classes: Vec<(&str, &str, Option<u32>)> = collection
        .classes
        .iter()
        .map(|class| (&class.id[..], &class.words[..], class.devkit_id))
        .collect();
    let shetland = "Shetland sheepdog, Shetland sheep dog, Shetland";
    let sorted = [
        ("n01440764", "tench, Tinca tinca", Some(4)),
        ("n01739381", "vine snake", Some(2)),
        ("n02105855", shetland, Some(3)),
        ("n02119789", "kit fox, Vulpes macrotis", Some(1)),
    ];
    assert_eq!(classes, sorted);

    assert_eq!((collection.train.len(), collection.test.len()), (16, 10));
    for item in &collection.train {
        let mut parts = item.name.split('/');
        assert_eq!(parts.next(), Some("ILSVRC2012_img_train.tar"));
        let id = &collection.classes[item.label as usize].id;
        assert_eq!(parts.next(), Some(&format!("{id}.tar")[..]));
        let file_name = parts.next().unwrap();
        assert!(file_name.starts_with(id), "{}", item.name);
        assert_eq!(bytes(&collection, item), miniature.image(file_name));
    }
    let in_order = collection.train.is_sorted_by_key(|item| (item.label, item.name.clone()));
    assert!(in_order);
    for (item, number) in collection.test.iter().zip(1..) {
        let id = collection.classes[item.label as usize].devkit_id;
        assert_eq!(id, Some(miniature.truth(number)), "{}", item.name);
        assert_eq!(bytes(&collection, item), miniature.image(&miniature.validation_name(number)));
    }
    let note = "taken for the archives of ILSVRC-2012: 4 classes, 16 images to train on and 10";
    assert!(collection.notes[0].contains(note), "{:?}", collection.notes);
    assert_eq!(collection.notes.len(), 1);
}

/// The CMYK and the PNG among the training images too.
#[test]
fn every_image_of_the_miniature_can_be_decoded() {
    let dir = written(&Miniature::new(2012));
    let collection = opened(dir.path()).unwrap();
    let (mut image, mut kinds) = (augment::Image::default(), [0; 2]);
    for item in collection.train.iter().chain(&collection.test) {
        let file = bytes(&collection, item);
        kinds[usize::from(file.starts_with(b"\x89PNG"))] += 1;
        crate::decode::decode(&file, &mut image).unwrap();
    }
    assert_eq!(kinds, [25, 1]);
}

#[test]
fn the_archives_of_2010_become_a_collection() {
    let mut miniature = Miniature::new(2010);
    miniature.format = MatFormat { big_endian: true, ..MatFormat::default() };
    let dir = written(&miniature);
    let collection = opened(dir.path()).unwrap();
    assert_eq!((collection.train.len(), collection.test.len()), (16, 10));
    assert_eq!(collection.test[0].name, "patch_images.tar/val/ILSVRC2010_val_00000001.JPEG");
    assert_eq!(bytes(&collection, &collection.test[0]), miniature.patched());
    assert_eq!(collection.test[1].name, "ILSVRC2010_images_val.tar/ILSVRC2010_val_00000002.JPEG");
    assert!(collection.notes[0].contains("ILSVRC-2010"), "{:?}", collection.notes);
    assert!(collection.notes[1].contains("its 1 images replace"), "{:?}", collection.notes);

    fs::remove_file(dir.path().join("patch_images.tar")).unwrap();
    let collection = opened(dir.path()).unwrap();
    assert_eq!(
        bytes(&collection, &collection.test[0]),
        miniature.image(&miniature.validation_name(1))
    );
    assert!(collection.notes[1].contains("no image is replaced"), "{:?}", collection.notes);
}

#[test]
fn missing_archives_are_named_in_one_error() {
    let miniature = Miniature::new(2012);
    for kept in 0..3 {
        let dir = written(&miniature);
        let names = miniature.names();
        let lost: Vec<&String> = (0..3).filter(|&name| name != kept).map(|i| &names[i]).collect();
        lost.iter().for_each(|name| fs::remove_file(dir.path().join(name)).unwrap());
        let wanted = format!("{} and {} is missing; expected all of", lost[0], lost[1]);
        assert!(said(&dir).contains(&wanted), "{}", said(&dir));
    }
    let dir = written(&miniature);
    Miniature::new(2010).write(dir.path());
    assert!(said(&dir).contains("more than one year's"), "{}", said(&dir));
}

#[test]
fn a_development_kit_of_other_archives_is_rejected() {
    let miniature = Miniature::new(2012);
    let [train, val, devkit] = miniature.names();
    let with_kit = |other: &Miniature| {
        let dir = written(&miniature);
        dir.write(&devkit, &other.devkit_archive());
        said(&dir)
    };
    // Another year's kit under this year's name; and its meta.mat alone.
    let other_year = Miniature { year: 2010, ..miniature.clone() };
    let message = with_kit(&other_year);
    assert!(
        message.contains(&devkit) && message.contains("has no data/ILSVRC2012_val"),
        "{message}"
    );
    let mut builder = ::tar::Builder::new(Vec::new());
    let truth: &[u8] = b"1\n";
    for (name, contents) in [
        ("k/data/meta.mat", &other_year.meta()[..]),
        ("k/data/ILSVRC2012_validation_ground_truth.txt", truth),
    ] {
        let mut header = ::tar::Header::new_ustar();
        header.set_size(contents.len() as u64);
        builder.append_data(&mut header, name, contents).unwrap();
    }
    let mixed = builder.into_inner().unwrap();
    let mut zip = flate2::read::GzEncoder::new(&mixed[..], flate2::Compression::fast());
    let mut packed = Vec::new();
    std::io::Read::read_to_end(&mut zip, &mut packed).unwrap();
    let dir = written(&miniature);
    dir.write(&devkit, &packed);
    assert!(said(&dir).contains("meta.mat: it is of ILSVRC-2010, among archives of ILSVRC-2012"));

    // Other classes, more classes, fewer.
    let changed = |change: &dyn Fn(&mut Vec<Synset>)| {
        let mut other = miniature.clone();
        change(&mut other.synsets);
        with_kit(&other)
    };
    let message = changed(&|synsets| synsets[0].wnid = "n99999999".to_owned());
    assert!(message.contains("1 of its 4 classes are not in"), "{message}");
    assert!(message.contains("(such as n99999999), and 1 of the 4 classes there"), "{message}");
    let message = changed(&|synsets| drop(synsets.remove(1)));
    assert!(message.contains("0 of its 3 classes are not in"), "{message}");
    assert!(
        message.contains("1 of the 4 classes there are not in meta.mat (such as n01739381"),
        "{message}"
    );
    let message = changed(&|synsets| synsets[1].wnid = synsets[0].wnid.clone());
    assert!(message.contains("row 2 has a duplicate id"), "{message}");
    let message = changed(&|synsets| synsets[1].id = 1);
    assert!(message.contains("row 2 has a duplicate id"), "{message}");
    let message = changed(&|synsets| synsets[2].wnid = "../../n0".to_owned());
    assert!(message.contains("row 3 has no usable WNID"), "{message}");

    // The right classes with other numbers of images.
    let message = with_kit(&Miniature { train: 5, ..miniature.clone() });
    assert!(message.contains(&format!("{train}/n02119789.tar: it has 4 images")), "{message}");
    let message = with_kit(&Miniature { validation: 11, ..miniature.clone() });
    assert!(message.contains(&format!("{val}: it has 10 validation images")), "{message}");
    // Classes of validation images that are none.
    let mut other = miniature.clone();
    other.synsets[0].id = 77;
    let dir = written(&miniature);
    dir.write(&devkit, &other.devkit_archive());
    assert!(opened(dir.path()).is_ok(), "ids need not be without gaps");
}

#[test]
fn truncated_archives_are_errors_with_their_position() {
    let miniature = Miniature { train: 3, validation: 4, side: 8, ..Miniature::new(2012) };
    let dir = written(&miniature);
    for name in &miniature.names()[..2] {
        let path = dir.path().join(name);
        let whole = fs::read(&path).unwrap();
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        // The last kilobyte is the end mark and padding.
        for length in (0..whole.len() - 1024).rev().step_by(97) {
            file.set_len(length as u64).unwrap();
            let error = opened(dir.path()).unwrap_err();
            let Error::Archive { path: archive, problem } = &error else { panic!("{error}") };
            assert!(archive.starts_with(&path), "{error}");
            assert!(problem.at <= length as u64, "{length}: {error}");
        }
        fs::write(&path, whole).unwrap();
    }
    let path = dir.path().join(&miniature.names()[2]);
    let whole = fs::read(&path).unwrap();
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let message = said(&dir);
        assert!(message.starts_with(&path.display().to_string()), "{length}: {message}");
    }
    // A bit of the checksum that ends the compressed kit.
    let mut flipped = whole.clone();
    flipped[whole.len() - 6] ^= 1;
    fs::write(&path, flipped).unwrap();
    assert!(opened(dir.path()).is_err());
}

/// Unexpected members are reported; of two with one name, the last counts.
#[test]
fn unexpected_and_repeated_members_are_noted() {
    let miniature = Miniature::new(2012);
    let dir = written(&miniature);
    let [_, val, _] = miniature.names();
    let mut builder = ::tar::Builder::new(Vec::new());
    let mut add = |name: &str, contents: &[u8]| {
        let mut header = ::tar::Header::new_gnu();
        header.set_size(contents.len() as u64);
        builder.append_data(&mut header, name, contents).unwrap();
    };
    add("readme.txt", b"x");
    add("ILSVRC2012_val_1.JPEG", b"x");
    add("ILSVRC2012_val_00000001.JPEG", b"old");
    for number in (1..=10).rev() {
        add(&miniature.validation_name(number), &[number as u8]);
    }
    let mut header = ::tar::Header::new_gnu();
    header.set_entry_type(::tar::EntryType::Symlink);
    header.set_size(0);
    builder.append_link(&mut header, "ILSVRC2012_val_00000002.JPEG", "/etc/passwd").unwrap();
    dir.write(&val, &builder.into_inner().unwrap());
    let collection = opened(dir.path()).unwrap();
    let first: Vec<Vec<u8>> = collection.test.iter().map(|item| bytes(&collection, item)).collect();
    assert_eq!(first, (1..=10).map(|number| vec![number]).collect::<Vec<_>>());
    let notes = collection.notes[1..].join("\n");
    for note in ["skipped 1 links", "2 unexpected members", "1 members replace earlier"] {
        assert!(notes.contains(note), "{notes}");
    }
}

#[test]
fn progress_only_grows_and_reaches_the_end() {
    for year in [2010, 2012] {
        let miniature = Miniature { train: 300, side: 8, ..Miniature::new(year) };
        let dir = written(&miniature);
        let told = Mutex::new(Vec::new());
        Collection::open(dir.path(), &|done, all| told.lock().unwrap().push((done, all))).unwrap();
        let told = told.into_inner().unwrap();
        assert!(told.len() > 4 && told.is_sorted(), "{told:?}");
        let all = told[0].1;
        assert!(told.iter().all(|&(_, every)| every == all), "{told:?}");
        assert_eq!(told.last(), Some(&(all, all)));
    }
}

/// Two classes; the validation images are listed out of order.
fn tiny() -> ScratchDir {
    let dir = ScratchDir::new();
    for (wnid, count) in [("n02124075", 3), ("n01443537", 2)] {
        for number in 0..count {
            dir.png(&format!("train/{wnid}/images/{wnid}_{number}.JPEG"), (8, 8), [number, 1, 2]);
        }
        dir.write(&format!("train/{wnid}/{wnid}_boxes.txt"), b"n02124075_0.JPEG\t0\t10\t63\t58\n");
    }
    for number in 0..3 {
        dir.png(&format!("val/images/val_{number}.JPEG"), (8, 8), [9, number, 2]);
        dir.png(&format!("test/images/test_{number}.JPEG"), (8, 8), [9, number, 2]);
    }
    dir.write("words.txt", b"n01443537\tgoldfish, Carassius auratus\nn00001740\tentity\n");
    let list = b"val_1.JPEG\tn02124075\t0\t32\t44\t62\nval_0.JPEG\tn01443537\t52\t55\t57\t59\n";
    dir.write("val/val_annotations.txt", list);
    dir
}

#[test]
fn tiny_imagenet_becomes_a_collection() {
    let dir = tiny();
    let collection = opened(dir.path()).unwrap();
    let ids: Vec<(&str, &str)> =
        collection.classes.iter().map(|class| (&class.id[..], &class.words[..])).collect();
    assert_eq!(ids, [("n01443537", "goldfish, Carassius auratus"), ("n02124075", "")]);
    assert_eq!(collection.train.iter().map(|i| i.label).collect::<Vec<_>>(), [0, 0, 1, 1, 1]);
    let location =
        |number: u32| FileLocation::File(dir.path().join(format!("val/images/val_{number}.JPEG")));
    let test: Vec<(u32, &FileLocation)> =
        collection.test.iter().map(|i| (i.label, &i.location)).collect();
    assert_eq!(test, [(0, &location(0)), (1, &location(1))]);
    assert!(collection.notes[0].contains("taken for Tiny-ImageNet"), "{:?}", collection.notes);
    assert!(collection.notes[1].contains("1 files have no label"), "{:?}", collection.notes);
    bytes(&collection, &collection.test[0]);
}

#[test]
fn inconsistent_tiny_imagenet_folders_are_rejected() {
    for (line, wanted) in [
        ("val_7.JPEG\tn01443537\t0", "`val_7.JPEG` is not in val/images"),
        ("val_0.JPEG\tn99999999\t0", "of class n99999999, which is not in `train`"),
        ("../val_0.JPEG\tn01443537\t0", "line 1 has no plain file name"),
        ("val_0.JPEG\tn01443537\nval_0.JPEG\tn02124075", "has two classes"),
        ("", "names no image"),
    ] {
        let dir = tiny();
        dir.write("val/val_annotations.txt", line.as_bytes());
        let message = said(&dir);
        assert!(message.contains(wanted) && message.contains("val_annotations.txt"), "{message}");
    }
}

#[test]
fn a_folder_of_images_becomes_a_collection() {
    let dir = ScratchDir::new();
    for class in ["bee", "ant"] {
        for number in 0..20 {
            dir.png(&format!("train/{class}/{number:02}.png"), (8, 8), [number, 1, 2]);
        }
    }
    let collection = opened(dir.path()).unwrap();
    assert_eq!((collection.train.len(), collection.test.len()), (36, 4));
    assert!(collection.notes[1].contains("held out"), "{:?}", collection.notes);
    dir.png("val/bee/a.png", (8, 8), [0; 3]);
    dir.png("val/ant/a.png", (8, 8), [0; 3]);
    let collection = opened(dir.path()).unwrap();
    let ids: Vec<&str> = collection.classes.iter().map(|class| &class.id[..]).collect();
    assert_eq!((ids, collection.train.len(), collection.test.len()), (vec!["ant", "bee"], 40, 2));
    assert_eq!(collection.test[1].label, 1);
    assert!(collection.notes[0].contains("taken for a folder of images"));
    assert!(bytes(&collection, &collection.test[1]).starts_with(b"\x89PNG"));
}

#[test]
fn the_error_for_other_folders_lists_all_layouts() {
    let dir = ScratchDir::new();
    let file = dir.write("file", b"");
    let message = opened(&file).unwrap_err().to_string();
    assert!(message.contains("neither a folder nor an archive"), "{message}");
    std::fs::remove_file(file).unwrap();
    for (path, found) in [
        (dir.path().join("nowhere"), "nothing of this name"),
        (dir.path().to_owned(), "none of the expected files"),
    ] {
        let message = opened(&path).unwrap_err().to_string();
        assert!(message.contains(found), "{message}");
        for known in
            ["ILSVRC2012_devkit_t12.tar.gz", "ILSVRC2010_images_val.tar", "val_annotations"]
        {
            assert!(message.contains(known), "{message}");
        }
    }
}
