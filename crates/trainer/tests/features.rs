//! `features`: what layers' names mean, the formats of its files, and folders of images.

mod program;

use program::{Scratch, coloured, expect, last_line};
use safetensors::SafeTensors;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;

/// The arrays of a file by name, with their shapes.
type Arrays = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|value| f32::from_le_bytes(value.try_into().unwrap())).collect()
}

/// The F32 tensors of a safetensors file, and its metadata.
fn safetensors(path: &str) -> (Arrays, BTreeMap<String, Value>) {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensors = file.tensors().into_iter().filter(|(name, _)| name != "labels");
    let arrays = tensors.map(|(name, it)| (name, (it.shape().to_vec(), floats(it.data()))));
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let about = header.metadata().clone().unwrap().into_iter();
    let about = about.map(|(name, text)| match serde_json::from_str(&text) {
        Ok(list @ Value::Array(_)) => (name, list),
        _ => (name, Value::from(text)),
    });
    (arrays.collect(), about.collect())
}

/// A NumPy array: its kind, shape and bytes.
fn npy(bytes: &[u8]) -> (String, Vec<usize>, Vec<u8>) {
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
    let start = 10 + u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
    let header = std::str::from_utf8(&bytes[10..start]).unwrap();
    assert!(header.contains("'fortran_order': False"), "{header}");
    let kind = header.split('\'').nth(3).unwrap().to_string();
    let shape = header.split(['(', ')']).nth(1).unwrap().split(',').map(str::trim);
    let shape = shape.filter(|text| !text.is_empty()).map(|text| text.parse().unwrap()).collect();
    (kind, shape, bytes[start..].to_vec())
}

/// The arrays of a NumPy archive.
fn npz(path: &str) -> BTreeMap<String, (String, Vec<usize>, Vec<u8>)> {
    let bytes = fs::read(path).unwrap();
    let archive = rawzip::ZipArchive::from_slice(&bytes).unwrap();
    let (mut entries, mut arrays) = (archive.entries(), BTreeMap::new());
    while let Some(entry) = entries.next_entry().unwrap() {
        let name = String::from_utf8(entry.file_path().as_ref().to_vec()).unwrap();
        let data = archive.get_entry(entry.wayfinder()).unwrap();
        let mut array = Vec::new();
        data.verifying_reader(data.data()).read_to_end(&mut array).unwrap();
        arrays.insert(name.strip_suffix(".npy").unwrap().to_string(), npy(&array));
    }
    arrays
}

/// The texts of an array of kind `<U...`.
fn texts(kind: &str, bytes: &[u8]) -> Vec<String> {
    let characters: usize = kind.strip_prefix("<U").unwrap().parse().unwrap();
    let text = |bytes: &[u8]| {
        let codes = bytes.chunks_exact(4).map(|code| u32::from_le_bytes(code.try_into().unwrap()));
        codes.take_while(|code| *code != 0).map(|code| char::from_u32(code).unwrap()).collect()
    };
    bytes.chunks_exact(4 * characters).map(text).collect()
}

#[test]
fn a_layer_s_name_means_its_own_output() {
    let scratch = Scratch::new("layers");
    coloured(&scratch, &["a"]);
    let (run, all, one) =
        (scratch.path("a"), scratch.path("all.safetensors"), scratch.path("f.csv"));
    let layers = "conv1,relu1,pool1,fc2,relu2,dropout2,fc3";
    let features = ["features", "--run", &run, "--progress", "none", "--batch-size", "5"];
    let (said, _) = expect(0, &[&features[..], &["-o", &all, "--layer", layers]].concat());
    assert_eq!(said.lines().count(), 7, "{said}");
    assert!(said.contains("12 images x 1152 values, layer conv1 (12 x 12 x 8)"), "{said}");
    let (arrays, about) = safetensors(&all);
    assert_eq!(arrays.len(), 7);
    assert_eq!(about["layers"], json!(layers.split(',').collect::<Vec<_>>()));
    assert_eq!((&about["layout"], &about["model"]), (&json!("nhwc"), &json!("tiny")));
    let names = about["names"].as_array().unwrap();
    assert!(
        names.len() == 12 && names[0].as_str().unwrap().ends_with("val/blue/0.png"),
        "{names:?}"
    );
    for (layer, shape) in [
        ("conv1", &[12, 12, 12, 8][..]),
        ("relu1", &[12, 12, 12, 8]),
        ("pool1", &[12, 6, 6, 8]),
        ("fc2", &[12, 6]),
        ("relu2", &[12, 6]),
        ("dropout2", &[12, 6]),
        ("fc3", &[12, 3]),
    ] {
        assert_eq!(arrays[layer].0, shape, "{layer}");
    }
    for (before, after) in [("conv1", "relu1"), ("fc2", "relu2")] {
        let (before, after) = (&arrays[before].1, &arrays[after].1);
        assert!(before.iter().any(|&x| x < 0.0) && before.iter().any(|&x| x > 0.0));
        assert!(before.iter().zip(after).all(|(x, y)| x.max(0.0) == *y));
    }
    // The paper's dropout scales at test time.
    let halves = arrays["relu2"].1.iter().map(|x| 0.5 * x).collect::<Vec<f32>>();
    assert_eq!(arrays["dropout2"].1, halves);

    // By default the last layer before the classifier, which is the same alone.
    let (said, _) = expect(0, &[&features[..], &["-o", &one]].concat());
    assert!(said.contains("12 images x 6 values, layer relu2 (6)"), "{said}");
    let table = fs::read_to_string(&one).unwrap();
    let rows = table.lines().skip(1).map(|line| line.split(',').skip(3));
    let values: Vec<f32> = rows.flatten().map(|value| value.parse().unwrap()).collect();
    assert_eq!(values, arrays["relu2"].1);
    for layer in ["conv1", "fc2", "relu1"] {
        let alone = scratch.path("alone.safetensors");
        expect(0, &[&features[..], &["-o", &alone, "--layer", layer]].concat());
        let (found, about) = safetensors(&alone);
        assert_eq!((&found["features"], &about["layers"]), (&arrays[layer], &json!([layer])));
    }

    let refused = |out: &str, layers: &[&str], told: &str| {
        let (_, stderr) = expect(2, &[&features[..], &["-o", &scratch.path(out)], layers].concat());
        assert!(stderr.contains(told), "{layers:?}: {stderr}");
        assert!(!fs::exists(scratch.path(out)).unwrap(), "{out}");
    };
    refused("x.csv", &["--layer", "fc22"], "did you mean `fc2`? (there are conv1, relu1, pool1,");
    refused("x.csv", &["--layer", "fc2,conv1,fc2"], "--layer: `fc2` is named twice");
    refused("x.npy", &["--layer", "fc2", "--layer", "fc3"], "x.npy: an .npy file holds one array");
    refused("x.mat", &[], "x.mat: end the name in .safetensors or .npy or .npz or .csv");
}

#[test]
fn all_formats_hold_the_same_values() {
    let scratch = Scratch::new("formats");
    coloured(&scratch, &["a"]);
    let (run, path) = (scratch.path("a"), |name: &str| scratch.path(name));
    let write = |out: &str, more: &[&str]| {
        expect(0, &[&["features", "--run", &run, "-o", &path(out)], more].concat()).0
    };
    let both = ["--layer", "pool1", "--layer", "fc2"];
    write("f.safetensors", &both);
    let (expected, about) = safetensors(&path("f.safetensors"));
    let names: Vec<&str> =
        about["names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();

    write("f.npz", &both);
    let arrays = npz(&path("f.npz"));
    assert_eq!(arrays.keys().collect::<Vec<_>>(), ["fc2", "labels", "names", "pool1"]);
    for layer in ["pool1", "fc2"] {
        let (kind, shape, bytes) = &arrays[layer];
        assert_eq!(kind, "<f4");
        assert_eq!((shape, &floats(bytes)), (&expected[layer].0, &expected[layer].1));
    }
    let (kind, shape, bytes) = &arrays["names"];
    assert_eq!(
        (shape, texts(kind, bytes)),
        (&vec![12], names.iter().map(|n| n.to_string()).collect())
    );
    let labels = |bytes: &[u8]| -> Vec<u8> { bytes.iter().step_by(4).copied().collect() };
    let twelve = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2];
    assert_eq!(
        (arrays["labels"].0.as_str(), labels(&arrays["labels"].2)),
        ("<u4", twelve.to_vec())
    );

    // Channels first: [12, 8, 6, 6] from [12, 6, 6, 8].
    let said = write("f.npy", &["--layer", "pool1", "--layout", "nchw", "--json"]);
    let told = last_line(&said);
    assert_eq!(told["layers"], json!([{ "name": "pool1", "shape": [8, 6, 6] }]));
    assert_eq!((&told["images"], &told["layout"]), (&json!(12), &json!("nchw")));
    let (_, shape, bytes) = npy(&fs::read(path("f.npy")).unwrap());
    assert_eq!(shape, [12, 8, 6, 6]);
    let (nchw, nhwc) = (floats(&bytes), &expected["pool1"].1);
    for (at, value) in nhwc.iter().enumerate() {
        let (image, pixel, channel) = (at / 288, at / 8 % 36, at % 8);
        assert_eq!(nchw[image * 288 + channel * 36 + pixel], *value);
    }
    let (kind, _, bytes) = npy(&fs::read(path("f.labels.npy")).unwrap());
    assert_eq!((kind.as_str(), labels(&bytes)), ("<u4", twelve.to_vec()));
    let list = fs::read_to_string(path("f.names.txt")).unwrap();
    assert_eq!(list.lines().collect::<Vec<_>>(), names);

    write("f.csv", &both);
    let table = fs::read_to_string(path("f.csv")).unwrap();
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!((rows.len(), rows[0].len()), (13, 3 + 288 + 6));
    assert_eq!((rows[0][3], rows[0][290], rows[0][291]), ("pool1_f0", "pool1_f287", "fc2_f0"));
    for (at, row) in rows[1..].iter().enumerate() {
        assert_eq!((row[1], row[2]), (names[at], ["blue", "green", "red"][at / 4]));
        let values: Vec<f32> = row[3..].iter().map(|value| value.parse().unwrap()).collect();
        assert_eq!(values[..288], expected["pool1"].1[288 * at..][..288]);
        assert_eq!(values[288..], expected["fc2"].1[6 * at..][..6]);
    }
}

#[test]
fn folders_need_no_classes_and_bad_images_are_nan() {
    let scratch = Scratch::new("photos");
    let data = coloured(&scratch, &["a"]);
    let (run, photos) = (scratch.path("a"), scratch.0.join("photos"));
    fs::create_dir_all(photos.join("deep")).unwrap();
    for (from, to) in [("red/0.png", "img10.png"), ("green/0.png", "deep/wörter.png")] {
        fs::copy(format!("{data}/val/{from}"), photos.join(to)).unwrap();
    }
    fs::write(photos.join("img2.png"), "no image").unwrap();
    fs::write(photos.join("notes.txt"), "no image").unwrap();
    let folder = photos.display().to_string();
    let names = ["deep/wörter.png", "img2.png", "img10.png"];
    let features = ["features", &folder, "--run", &run, "--progress", "plain", "--batch-size", "2"];
    for (out, count) in [("f.npz", 2), ("f.safetensors", 1), ("f.csv", 1)] {
        let out = scratch.path(out);
        let (said, stderr) = expect(3, &[&features[..], &["-o", &out]].concat());
        assert!(said.contains("3 images x 6 values, layer relu2 (6)"), "{said}");
        assert!(stderr.contains("1 file that is not an image was skipped"), "{stderr}");
        assert!(
            stderr.contains("img2.png: ") && stderr.contains("features  2/3 images"),
            "{stderr}"
        );
        assert!(
            stderr.contains("1 of 3 images could not be read; their values are NaN"),
            "{stderr}"
        );
        let values = if out.ends_with("npz") {
            let arrays = npz(&out);
            assert_eq!(arrays.len(), count, "no labels");
            let (kind, _, bytes) = &arrays["names"];
            assert_eq!(texts(kind, bytes), names);
            floats(&arrays["relu2"].2)
        } else if out.ends_with("safetensors") {
            let (arrays, about) = safetensors(&out);
            assert_eq!((arrays.len(), &about["names"]), (count, &json!(names)));
            arrays["features"].1.clone()
        } else {
            let table = fs::read_to_string(&out).unwrap();
            let rows: Vec<Vec<&str>> =
                table.lines().skip(1).map(|row| row.split(',').collect()).collect();
            assert_eq!(rows.iter().map(|row| row[1]).collect::<Vec<_>>(), names);
            rows.iter().flat_map(|row| &row[3..]).map(|value| value.parse().unwrap()).collect()
        };
        let is_nan: Vec<bool> = values.iter().map(|value| value.is_nan()).collect();
        assert_eq!(is_nan, [[false; 6], [true; 6], [false; 6]].concat());
    }

    // Files keep the names that were typed; where no image can be read, nothing is written.
    let (one, out) = (photos.join("img10.png").display().to_string(), scratch.path("one.csv"));
    expect(0, &["features", &one, "--run", &run, "-o", &out]);
    assert!(fs::read_to_string(&out).unwrap().contains(&format!("\n0,{one},,")));
    let (bad, out) = (photos.join("img2.png").display().to_string(), scratch.path("none.csv"));
    let (_, stderr) = expect(3, &["features", &bad, "--run", &run, "-o", &out]);
    assert!(stderr.contains("img2.png: ") && !fs::exists(&out).unwrap(), "{stderr}");
    let (_, stderr) = expect(3, &["features", &bad, &bad, "--run", &run, "-o", &out]);
    assert!(stderr.contains("2 of 2 images could not be read"), "{stderr}");
    assert!(!fs::exists(&out).unwrap());
    let (_, stderr) =
        expect(3, &["features", &format!("{folder}/*.gif"), "--run", &run, "-o", &out]);
    assert!(stderr.contains("/*.gif: no image file there"), "{stderr}");
    let (_, stderr) = expect(2, &["features", &one, "--data", &data, "--run", &run, "-o", &out]);
    assert!(stderr.contains("cannot be used with"), "{stderr}");
}
