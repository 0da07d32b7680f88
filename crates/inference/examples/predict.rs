//! Classifies images with a run's network: `cargo run --example predict -- RUN photo.jpg ...`

use alexnet_inference::Classifier;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let classifier = Classifier::open(arguments.next().ok_or("name a run's folder")?)?;
    for photo in arguments {
        for guess in classifier.predict_file(&photo)?.top(5) {
            println!("{photo} {} {:.1} %", guess.title, 100.0 * guess.probability);
        }
    }
    Ok(())
}
