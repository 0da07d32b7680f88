use super::*;
use crate::features::Layout;
use data::Fake;
use safetensors::SafeTensors;
use std::fs;
use std::io::Read;
use std::path::PathBuf;

/// Writes three images, of which the second could not be read, and returns the file.
fn written(
    name: &str,
    format: VectorFormat,
    layers: &[(&str, &[usize])],
    layout: Layout,
    labelled: bool,
) -> (Vec<u8>, PathBuf) {
    let name = format!("alexnet-features-{name}-{format:?}-{}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let source = Fake::new(3, 8, 2);
    let layers = layers.iter().map(|(name, shape)| (name.to_string(), shape.to_vec()));
    let layers: Vec<(String, Vec<usize>)> = layers.collect();
    let lengths: Vec<usize> = layers.iter().map(|(_, shape)| shape.iter().product()).collect();
    let contents =
        Contents { source: &source, labelled, folder: None, layers, layout, model: "net" };
    let mut writer = Writer::create(&path, format, contents).unwrap();
    for sample in 0..3 {
        let values = lengths.iter().enumerate().map(|(layer, &length)| {
            let first = (100 * sample + 1000 * layer) as f32;
            (0..length).map(|at| first + at as f32).collect::<Vec<f32>>()
        });
        let values: Vec<Vec<f32>> = values.collect();
        let values: Vec<&[f32]> = values.iter().map(Vec::as_slice).collect();
        writer.push(sample, (sample != 1).then_some(&values)).unwrap();
    }
    writer.finish().unwrap();
    let bytes = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    (bytes, path)
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|value| f32::from_le_bytes(value.try_into().unwrap())).collect()
}

const MAPS: (&str, &[usize]) = ("conv1", &[1, 2, 3]);
const UNITS: (&str, &[usize]) = ("fc2", &[2]);

#[test]
fn safetensors_are_read_by_the_library() {
    for labelled in [true, false] {
        let name = format!("one-{labelled}");
        let format = VectorFormat::Safetensors;
        let (bytes, _) = written(&name, format, &[UNITS], Layout::Nhwc, labelled);
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let features = file.tensor("features").unwrap();
        assert_eq!(features.shape(), [3, 2]);
        let values = floats(features.data());
        assert_eq!((&values[..2], &values[4..]), (&[0.0, 1.0][..], &[200.0, 201.0][..]));
        assert!(values[2].is_nan() && values[3].is_nan());
        assert_eq!(file.tensor("labels").is_ok(), labelled);
        assert_eq!(file.len(), 1 + usize::from(labelled));
    }
    let format = VectorFormat::Safetensors;
    let (bytes, _) = written("several", format, &[MAPS, UNITS], Layout::Nchw, true);
    let file = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.tensor("conv1").unwrap().shape(), [3, 3, 1, 2]);
    let values = floats(file.tensor("conv1").unwrap().data());
    assert_eq!(values[..6], [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    assert_eq!(values[12..], [200.0, 203.0, 201.0, 204.0, 202.0, 205.0]);
    let values = floats(file.tensor("fc2").unwrap().data());
    assert_eq!((&values[..2], &values[4..]), (&[1000.0, 1001.0][..], &[1200.0, 1201.0][..]));
    assert_eq!(file.tensor("labels").unwrap().shape(), [3]);
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let about = header.metadata().as_ref().unwrap();
    assert_eq!(about["names"], "[\"fake image 0\",\"fake image 1\",\"fake image 2\"]");
    assert_eq!(about["layers"], "[\"conv1\",\"fc2\"]");
    assert_eq!((about["layout"].as_str(), about["model"].as_str()), ("nchw", "net"));
}

#[test]
fn npy_headers_follow_numpys_format() {
    for (maps, shape) in [(UNITS, "(3, 2)"), (MAPS, "(3, 1, 2, 3)")] {
        let (bytes, path) = written(maps.0, VectorFormat::Npy, &[maps], Layout::Nhwc, true);
        let length = u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
        assert_eq!((10 + length) % 64, 0);
        let header = std::str::from_utf8(&bytes[10..10 + length]).unwrap();
        assert!(header.starts_with("{'descr': '<f4'") && header.ends_with('\n'), "{header}");
        assert!(header.contains(&format!("'shape': {shape}")), "{header}");
        let values: usize = maps.1.iter().product();
        assert_eq!(bytes.len(), 10 + length + 3 * 4 * values);
        let [labels, names] = ["labels.npy", "names.txt"].map(|end| path.with_extension(end));
        assert_eq!(fs::read(&labels).unwrap().len() % 64, 12);
        let text = fs::read_to_string(&names).unwrap();
        assert_eq!(text, "fake image 0\nfake image 1\nfake image 2\n");
        [labels, names].iter().for_each(|path| fs::remove_file(path).unwrap());
    }
}

/// The arrays of an archive by name: their headers and values.
fn arrays_of(bytes: &[u8]) -> Vec<(String, String, Vec<u8>)> {
    let archive = rawzip::ZipArchive::from_slice(bytes).unwrap();
    let (mut entries, mut arrays) = (archive.entries(), Vec::new());
    while let Some(entry) = entries.next_entry().unwrap() {
        let name = String::from_utf8(entry.file_path().as_ref().to_vec()).unwrap();
        let data = archive.get_entry(entry.wayfinder()).unwrap();
        let mut array = Vec::new();
        data.verifying_reader(data.data()).read_to_end(&mut array).unwrap();
        let start = 10 + u16::from_le_bytes([array[8], array[9]]) as usize;
        assert_eq!(start % 64, 0);
        let header = String::from_utf8(array[10..start].to_vec()).unwrap();
        arrays.push((name, header, array[start..].to_vec()));
    }
    arrays
}

#[test]
fn an_archive_has_an_array_for_each_layer() {
    let format = VectorFormat::Npz;
    let (bytes, _) = written("two", format, &[MAPS, UNITS], Layout::Nhwc, true);
    let arrays = arrays_of(&bytes);
    let described = arrays.iter().map(|(name, header, _)| {
        let descr = header.split('\'').nth(3).unwrap();
        let shape = header.split(['(', ')']).nth(1).unwrap();
        format!("{name} {descr} ({shape})")
    });
    assert_eq!(
        described.collect::<Vec<_>>(),
        [
            "conv1.npy <f4 (3, 1, 2, 3)",
            "fc2.npy <f4 (3, 2)",
            "labels.npy <u4 (3,)",
            "names.npy <U12 (3,)"
        ]
    );
    let values: Vec<Vec<f32>> = arrays[..2].iter().map(|(.., values)| floats(values)).collect();
    assert_eq!(values[0][..6], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    assert!(values[0][6..12].iter().chain(&values[1][2..4]).all(|value| value.is_nan()));
    assert_eq!(values[0][12..], [200.0, 201.0, 202.0, 203.0, 204.0, 205.0]);
    assert_eq!((&values[1][..2], &values[1][4..]), (&[1000.0, 1001.0][..], &[1200.0, 1201.0][..]));
    let names = &arrays[3].2;
    let codes = names.chunks_exact(4).map(|code| u32::from_le_bytes(code.try_into().unwrap()));
    let text: String = codes.map(|code| char::from_u32(code).unwrap()).collect();
    assert_eq!(text, "fake image 0fake image 1fake image 2");
    let (bytes, _) = written("bare", format, &[UNITS], Layout::Nhwc, false);
    let names: Vec<String> = arrays_of(&bytes).into_iter().map(|it| it.0).collect();
    assert_eq!(names, ["fc2.npy", "names.npy"]);
}

#[test]
fn csv_has_one_line_per_image() {
    let (bytes, _) = written("one", VectorFormat::Csv, &[UNITS], Layout::Nhwc, true);
    let text = String::from_utf8(bytes).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines.len(), lines[0]), (4, "image,name,class,f0,f1"));
    assert!(lines[1].ends_with(",0,1") && lines[2].ends_with("NaN,NaN"), "{text}");
    let (bytes, _) = written("two", VectorFormat::Csv, &[UNITS, MAPS], Layout::Nchw, false);
    let text = String::from_utf8(bytes).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let maps = "conv1_f0,conv1_f1,conv1_f2,conv1_f3,conv1_f4,conv1_f5";
    assert_eq!(lines[0], format!("image,name,class,fc2_f0,fc2_f1,{maps}"));
    assert_eq!(lines[3], "2,fake image 2,,200,201,1200,1203,1201,1204,1202,1205");
}

#[test]
fn names_are_relative_to_their_folder() {
    let contents = |source, folder| {
        let layers = Vec::new();
        Contents { source, labelled: false, folder, layers, layout: Layout::Nhwc, model: "net" }
    };
    let files = ["/photos/a/1.png", "/photographs/2.png"].map(PathBuf::from).to_vec();
    let source = data::unlabelled::UnlabelledFiles::new(files, 8, Default::default(), &[]);
    let inside = contents(&source, Some(Path::new("/photos/")));
    assert_eq!([0, 1].map(|at| inside.name(at)), ["a/1.png", "/photographs/2.png"]);
    assert_eq!(contents(&source, None).name(0), "/photos/a/1.png");
}

#[test]
fn what_a_format_cannot_hold_is_an_error() {
    let path = Path::new("f.out");
    let refused = |format: VectorFormat, layers: &[&str]| {
        format.check(path, layers).map_err(|error| error.to_string())
    };
    let error = refused(VectorFormat::Npy, &["a", "b"]).unwrap_err();
    assert!(error.contains("f.out: an .npy file holds one array, not 2 layers"), "{error}");
    let error = refused(VectorFormat::Npz, &["names"]).unwrap_err();
    assert!(error.contains("the layer `names` has the name of another array"), "{error}");
    assert!(refused(VectorFormat::Safetensors, &["a", "labels"]).is_err());
    for (format, layers) in [
        (VectorFormat::Safetensors, &["labels"][..]),
        (VectorFormat::Csv, &["labels", "names"]),
        (VectorFormat::Npy, &["labels"]),
        (VectorFormat::Npz, &["a", "b"]),
    ] {
        assert_eq!(refused(format, layers), Ok(()));
    }
}
