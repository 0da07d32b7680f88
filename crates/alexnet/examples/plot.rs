//! A line plot as SVG: `cargo run --example plot --features report`

use alexnet::report::plot::{Plot, Series, Stroke, to_svg_file};

fn main() -> std::io::Result<()> {
    // Two losses by step: as measured, and smoothed.
    let noise = |step: u32| f64::from(step * 37 % 101) / 101.0 - 0.5;
    let loss = |step: u32| 0.2 + 2.1 * (-f64::from(step) / 150.0).exp();
    let measured = (0..600).map(|step| (f64::from(step), loss(step) + 0.4 * noise(step)));
    let smooth = (0..600).step_by(50).map(|step| (f64::from(step), loss(step)));

    let plot = Plot {
        title: "Loss by step".to_string(),
        description: "The loss falls from 2.3 to 0.2.".to_string(),
        y_label: "loss".to_string(),
        lines: vec![
            Series { points: measured.collect(), stroke: Stroke::Faint, ..Series::default() },
            Series { points: smooth.collect(), label: "mean".to_string(), ..Series::default() },
        ],
        marks: vec![(400.0, "rate 0.001".to_string())],
        ..Plot::default()
    };
    let file = std::env::temp_dir().join(format!("alexnet-plot-{}.svg", std::process::id()));
    let svg = to_svg_file(&plot);
    std::fs::write(&file, &svg)?;
    println!("{} lines, {} KiB of SVG in {}", plot.lines.len(), svg.len() >> 10, file.display());
    Ok(())
}
