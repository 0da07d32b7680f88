//! Axes, lines and legends of plots.

use super::*;

#[test]
fn ticks_are_round_and_few() {
    assert_eq!(tick(2.3, 5.0), 0.5);
    assert_eq!(tick(600.0, 8.0), 100.0);
    assert_eq!(tick(1.0, 5.0), 0.2);
    assert_eq!(ticks(0.6, 0.2).map(short).collect::<Vec<_>>(), ["0", "0.2", "0.4", "0.6"]);
    assert_eq!((count(450_000.0), count(600.0)), ("450k".to_string(), "600".to_string()));
}

#[test]
fn lines_end_where_the_frame_does() {
    let line = Series { points: vec![(0.0, 0.0), (100.0, 2.0)], ..Series::default() };
    let plot = Plot { lines: vec![line], marks: vec![(50.0, "a < b".into())], ..Plot::default() };
    let svg = plot.to_svg("p", 400.0, 200.0);
    assert!(svg.contains("points=\"46.0,166.0 390.0,26.0\""), "{svg}");
    assert!(svg.contains("a &lt; b") && svg.contains(">step<"), "{svg}");
    let line = Series { label: "R & B".into(), ..Series::default() };
    let plot = Plot { lines: vec![line], x_label: "epoch".into(), ..Plot::default() };
    let svg = plot.to_svg("p", 400.0, 200.0);
    assert!(svg.contains(">R &amp; B</text>") && svg.contains(">epoch<"), "{svg}");
}

#[test]
fn a_logarithmic_axis_has_powers_of_ten_and_dots_have_no_line() {
    let points = vec![(1e-3, 1.0), (1e-2, 0.5), (1e-1, 1.0)];
    let line = Series { points, stroke: Stroke::Dots, ..Series::default() };
    let x_axis = XAxis::Logarithmic;
    let svg = Plot { lines: vec![line.clone()], x_axis, ..Plot::default() };
    let svg = svg.to_svg("p", 400.0, 200.0);
    assert!(svg.contains("cx=\"46.0\"") && svg.contains("cx=\"218.0\""), "{svg}");
    assert!(["1e-3", "1e-2", "1e-1"].iter().all(|tick| svg.contains(&format!(">{tick}<"))));
    assert!(!svg.contains("polyline"), "{svg}");
    let svg = Plot { lines: vec![line], x_axis: XAxis::Linear, ..Plot::default() };
    assert!(svg.to_svg("p", 400.0, 200.0).contains("cx=\"390.0\""));
    let one = Series { points: vec![(3.0, 1.0)], ..Series::default() };
    let svg = Plot { lines: vec![one], x_axis: XAxis::Linear, ..Plot::default() };
    assert!(svg.to_svg("p", 400.0, 200.0).contains("cx=\"218.0\""));
}

#[test]
fn many_names_stand_in_columns_each_in_a_colour_of_its_own() {
    let line = |color| Series { color, label: format!("net {color}"), ..Series::default() };
    let lines: Vec<Series> = (0..7).map(line).collect();
    let svg = Plot { lines, ..Plot::default() }.to_svg("p", 400.0, 200.0);
    let place = |name: &str| {
        let text = svg.split("<text ").find(|text| text.contains(&format!(">{name}<"))).unwrap();
        let at = |key: &str| text.split(key).nth(1).unwrap().split('"').next().unwrap();
        (at("class=\""), at(" x=\""), at(" y=\""))
    };
    assert_eq!(place("net 0"), ("s1", "339.0", "36.0"));
    assert_eq!(place("net 3"), ("s4", "339.0", "81.0"));
    assert_eq!(place("net 4"), ("s5", "390.0", "36.0"));
    assert_eq!(place("net 6"), ("s7", "390.0", "66.0"));
    let style = include_str!("../colors.css");
    assert!((1..=COLORS).all(|n| style.contains(&format!(".s{n} {{"))), "{style}");
    assert!(!style.contains(&format!(".s{} {{", COLORS + 1)), "{style}");
}

#[test]
fn nothing_and_very_much_are_plotted() {
    assert!(Plot::default().to_svg("p", 400.0, 200.0).contains("</svg>"));
    let points: Vec<_> = (0..100_000).map(|i| (f64::from(i), 1.0)).collect();
    assert!(thinned(&points).len() <= MAX_POINTS);
    assert!(thinned(&points).iter().all(|p| p.1 == 1.0));
}
