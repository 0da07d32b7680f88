//! Crops of plain JPEGs are made without allocating, whether they lie in a folder or in shards.
//! Alone in this file, because allocations of all threads are counted.

use alexnet_data::collection::{Class, Collection, FileLocation, LabelledFile};
use alexnet_data::shards::Keep;
use alexnet_data::{Crops, Folder, PrepareOptions, ReadBuffer, Shards, Source, prepare};
use augment::{View, ten_crop};
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};

#[global_allocator]
static ALLOCATOR: testkit::CountingAllocator = testkit::CountingAllocator;

#[test]
fn crops_of_plain_jpegs_allocate_nothing() {
    let dir = std::env::temp_dir().join(format!("alexnet-jpeg-allocations-{}", std::process::id()));
    let mut collection = Collection::default();
    for label in 0..2 {
        let class = dir.join(label.to_string());
        std::fs::create_dir_all(&class).unwrap();
        let path = class.join("image.jpg");
        let color = |x: u32, y: u32| Rgb([(x * 9) as u8, (y * 11) as u8, ((x + y) * 5) as u8]);
        let image: DynamicImage = RgbImage::from_fn(60, 40 + label, color).into();
        image.save_with_format(&path, ImageFormat::Jpeg).unwrap();
        collection.classes.push(Class { id: label.to_string(), ..Class::default() });
        let item = LabelledFile {
            name: path.display().to_string(),
            label,
            location: FileLocation::File(path),
        };
        collection.train.push(item);
    }
    let mut sources: Vec<Box<dyn Source>> = vec![Box::new(Folder::open(&dir, 24).unwrap())];
    for keep in [Keep::Centre, Keep::Whole] {
        let options = PrepareOptions { side: 24, keep, ..Default::default() };
        let out = dir.join(format!("{keep:?}"));
        prepare(&collection, &out, &options, &mut |_| (), &|| false).unwrap();
        sources.push(Box::new(Shards::open(&out, 24).unwrap().0));
    }
    for (number, source) in sources.iter().enumerate() {
        let (crop, mut buffer) = ((20, 21), ReadBuffer::default());
        let mut crops = vec![0; 10 * crop.0 * crop.1 * 3];
        let one = crop.0 * crop.1 * 3;
        let mut read = |times: usize| {
            for image in (0..2).cycle().take(times) {
                let views: [View; 10] = ten_crop(source.size_of(image), crop);
                let all = Crops { views: &views, size: crop, into: &mut crops };
                source.read_crops(image, all, &mut buffer).unwrap();
                let first = Crops { views: &views[..1], size: crop, into: &mut crops[..one] };
                source.read_crops(image, first, &mut buffer).unwrap();
            }
        };
        read(2);
        assert_eq!(testkit::allocations_during(|| read(20)), 0, "source {number}");
    }
    std::fs::remove_dir_all(&dir).unwrap();
}
