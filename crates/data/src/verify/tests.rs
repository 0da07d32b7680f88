use super::*;
use crate::inspect::tests::{tiff, with_exif};
use crate::scratch_dir::{ScratchDir, encoded};
use image::{DynamicImage, ImageFormat};

fn found(folder: &ScratchDir, smaller_than: usize, threads: usize) -> VerifyReport {
    super::folder(
        folder.path(),
        VerifyOptions { smaller_than, threads, ..VerifyOptions::default() },
        &|_, _| (),
    )
    .unwrap()
}

/// One file of every kind, and the kinds that belong to it.
fn zoo(folder: &ScratchDir) -> Vec<(&'static str, &'static [FindingKind])> {
    let photo: DynamicImage = image::RgbImage::from_fn(40, 30, |x, y| {
        image::Rgb([(x * 6) as u8, (y * 8) as u8, (x + y) as u8])
    })
    .into();
    let (jpeg, png) = (encoded(&photo, ImageFormat::Jpeg), encoded(&photo, ImageFormat::Png));
    let mut huge = jpeg.clone();
    let frame = huge.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
    huge[frame + 5..frame + 9].copy_from_slice(&[0xFF, 0xDC, 0xFF, 0xDC]);
    let mut damaged = png.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0x10;
    let sixteen: DynamicImage = photo.to_rgb16().into();
    let case = |name: &str| {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/jpeg-cases/");
        std::fs::read(format!("{folder}{name}.jpg")).unwrap()
    };
    let files: [(&str, Vec<u8>, &[FindingKind]); 22] = [
        ("a/good.JPEG", jpeg.clone(), &[]),
        ("a/good.png", png.clone(), &[]),
        ("a/no-ending", png.clone(), &[]),
        ("a/empty.jpg", vec![], &[FindingKind::Truncated]),
        ("a/cut.jpg", jpeg[..jpeg.len() * 2 / 3].to_vec(), &[FindingKind::Truncated]),
        ("a/cut.png", png[..png.len() * 2 / 3].to_vec(), &[FindingKind::Truncated]),
        ("a/damaged.png", damaged, &[FindingKind::Damaged]),
        ("a/page.jpg", b"<html>404</html>".to_vec(), &[FindingKind::NotAnImage]),
        (
            "a/moving.jpg",
            b"GIF89a0\x000\0\0\0\0".to_vec(),
            &[FindingKind::Truncated, FindingKind::WrongName],
        ),
        ("a/closed.jpg", case("cut-with-eoi"), &[FindingKind::Damaged]),
        ("a/arithmetic.jpg", case("arithmetic"), &[FindingKind::Unsupported]),
        ("b/strays.jpg", case("bytes-between-segments"), &[FindingKind::StrayBytes]),
        ("b/each.jpg", case("noninterleaved-420"), &[]),
        ("b/huge.jpg", huge, &[FindingKind::UnusableSize]),
        (
            "b/strip.png",
            encoded(&DynamicImage::new_rgb8(3000, 2), ImageFormat::Png),
            &[FindingKind::UnusableSize, FindingKind::Small],
        ),
        ("b/png.jpg", png.clone(), &[FindingKind::WrongName]),
        (
            "b/cmyk.jpg",
            include_bytes!("../../fixtures/cmyk.jpg").to_vec(),
            &[FindingKind::Cmyk, FindingKind::Small],
        ),
        ("b/grey.jpg", encoded(&photo.to_luma8().into(), ImageFormat::Jpeg), &[FindingKind::Grey]),
        ("b/deep.png", encoded(&sixteen, ImageFormat::Png), &[FindingKind::SixteenBit]),
        ("b/clear.png", encoded(&photo.to_rgba8().into(), ImageFormat::Png), &[FindingKind::Alpha]),
        (
            "b/turned.jpg",
            with_exif(&jpeg, &tiff(true, &[(0x0112, 3, 1, 6)])),
            &[FindingKind::Orientation],
        ),
        ("b/camera.jpg", with_exif(&jpeg, b"MM\0*\xFF\xFF\xFF\xFF"), &[FindingKind::CorruptExif]),
    ];
    let mut expected = Vec::new();
    for (name, bytes, kinds) in files {
        folder.write(name, &bytes);
        expected.push((name, kinds));
    }
    folder.write("a/readme.txt", b"passed over");
    folder.write("a/.hidden.jpg", b"passed over");
    expected.sort();
    expected
}

#[test]
fn every_kind_is_found_and_nothing_else_in_the_order_of_the_paths() {
    let folder = ScratchDir::new();
    let expected: Vec<(String, FindingKind)> = zoo(&folder)
        .into_iter()
        .flat_map(|(name, kinds)| kinds.iter().map(move |&kind| (name, kind)))
        .map(|(name, kind)| (folder.path().join(name).display().to_string(), kind))
        .collect();
    let report = found(&folder, 25, 3);
    let got: Vec<_> = report.findings.iter().map(|f| (f.name.clone(), f.kind)).collect();
    assert_eq!(got, expected);
    assert_eq!((report.files, report.unusable()), (22, 10));
    assert_eq!((report.count(FindingKind::Truncated), report.count(FindingKind::Cmyk)), (4, 1));
    assert_eq!(report, found(&folder, 25, 1));
    assert!(found(&folder, 0, 2).count(FindingKind::Small) == 0);
    let detail = |kind| &report.findings.iter().find(|f| f.kind == kind).unwrap().detail;
    assert_eq!(detail(FindingKind::WrongName), "a GIF whose name ends in .jpg");
    assert!(detail(FindingKind::NotAnImage).contains("a web page"));
    assert!(detail(FindingKind::Orientation).contains("orientation 6"));
    assert_eq!(detail(FindingKind::Small), "24 x 16 pixels");
}

#[test]
fn a_folder_may_be_named_by_a_relative_path() {
    let folder = ScratchDir::new();
    folder.png("a/1.png", (4, 4), [1, 2, 3]);
    let here = std::env::current_dir().unwrap();
    let up: std::path::PathBuf = here.components().skip(1).map(|_| "..").collect();
    let relative = up.join(folder.path().strip_prefix("/").unwrap());
    let report = super::folder(&relative, VerifyOptions::default(), &|_, _| ()).unwrap();
    assert_eq!((report.files, report.unusable()), (1, 0), "{report:?}");
    assert_eq!(headers(&relative, 1, &|_, _| ()).unwrap().sizes, [(4, 4)]);
}

#[test]
fn progress_counts_every_file_once() {
    let folder = ScratchDir::new();
    let count = zoo(&folder).len();
    let heard = Mutex::new(Vec::new());
    let hear = |done, of| heard.lock().unwrap().push((done, of));
    super::folder(folder.path(), VerifyOptions::default(), &hear).unwrap();
    let mut heard = heard.into_inner().unwrap();
    heard.sort();
    assert_eq!(heard, (1..=count).map(|done| (done, count)).collect::<Vec<_>>());
}

#[test]
fn pipes_and_broken_links_are_findings_and_are_not_opened() {
    let folder = ScratchDir::new();
    folder.png("a/good.png", (4, 4), [1, 2, 3]);
    let nowhere = folder.path().join("a/nowhere.jpg");
    std::os::unix::fs::symlink("no such file", &nowhere).unwrap();
    std::os::unix::fs::symlink("..", folder.path().join("a/round")).unwrap();
    let pipe = folder.path().join("a/pipe.jpg");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let report = found(&folder, 0, 2);
    assert_eq!((report.files, report.unusable()), (3, 2));
    let details: Vec<&str> = report.findings.iter().map(|f| &*f.detail).collect();
    assert!(details[0].contains("No such file"), "{details:?}");
    assert_eq!(details[1], "neither a file nor a folder");
    let missing = folder.path().join("none");
    let error = super::folder(&missing, VerifyOptions::default(), &|_, _| ()).unwrap_err();
    assert!(error.to_string().contains("No such file"), "{error}");
}

#[test]
fn a_source_is_read_to_its_end() {
    let folder = ScratchDir::new();
    for (name, color) in [("a/1.png", 1), ("a/2.png", 2), ("b/1.png", 3)] {
        folder.png(name, (4, 5), [color; 3]);
    }
    folder.write("b/2.png", b"no image");
    let images = crate::Folder::open(folder.path(), 4).unwrap();
    let report = source(&images, 2, &|_, _| ());
    assert_eq!((report.files, report.unusable()), (4, 1));
    assert!(report.findings[0].name.ends_with("b/2.png"), "{report:?}");
    let turned = with_exif(
        &encoded(&DynamicImage::new_rgb8(8, 9), ImageFormat::Jpeg),
        &tiff(true, &[(0x0112, 3, 1, 8)]),
    );
    let path = folder.write("a/0.jpg", &turned);
    let headers = headers(folder.path(), 2, &|_, _| ()).unwrap();
    assert_eq!(headers.sizes, [(9, 8), (4, 5), (4, 5), (4, 5)]);
    assert_eq!(headers.oriented, Some((1, path.display().to_string())));
}
