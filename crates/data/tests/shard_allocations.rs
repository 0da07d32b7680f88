//! Crops of raw shards are made without allocating. Alone in this file, because allocations of all
//! threads are counted.

use alexnet_data::collection::{Class, Collection, FileLocation, LabelledFile};
use alexnet_data::shards::{Encoding, Keep};
use alexnet_data::{Crops, PrepareOptions, ReadBuffer, Shards, Source, prepare};
use augment::{View, ten_crop};

#[global_allocator]
static ALLOCATOR: testkit::CountingAllocator = testkit::CountingAllocator;

#[test]
fn crops_of_raw_shards_allocate_nothing() {
    let dir = std::env::temp_dir().join(format!("alexnet-allocations-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let mut collection = Collection::default();
    for label in 0..2 {
        let path = dir.join(format!("{label}.png"));
        image::RgbImage::from_pixel(40, 30 + label, image::Rgb([7; 3])).save(&path).unwrap();
        collection.classes.push(Class { id: label.to_string(), ..Class::default() });
        let item = LabelledFile {
            name: path.display().to_string(),
            label,
            location: FileLocation::File(path),
        };
        collection.train.push(item);
    }
    for keep in [Keep::Centre, Keep::Whole] {
        let options =
            PrepareOptions { side: 24, encoding: Encoding::Raw, keep, ..Default::default() };
        let out = dir.join(format!("{keep:?}"));
        prepare(&collection, &out, &options, &mut |_| (), &|| false).unwrap();
        let (shards, _) = Shards::open(&out, 24).unwrap();
        let (crop, mut buffer) = ((20, 21), ReadBuffer::default());
        let mut crops = vec![0; 10 * crop.0 * crop.1 * 3];
        let mut read = |times: usize| {
            for image in (0..2).cycle().take(times) {
                let views: [View; 10] = ten_crop(shards.size_of(image), crop);
                let all = Crops { views: &views, size: crop, into: &mut crops };
                shards.read_crops(image, all, &mut buffer).unwrap();
            }
        };
        read(4); // the first reading compares checksums, the second is as all that follow
        assert_eq!(testkit::allocations_during(|| read(100)), 0, "{keep:?}");
    }
    std::fs::remove_dir_all(&dir).unwrap();
}
