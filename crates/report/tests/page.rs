//! The page is well-formed, complete and self-contained.

use alexnet_report::explain::Explained;
use alexnet_report::figures::{Guess, Neighbour, Neighbours};
use alexnet_report::{
    ClassRow, Confusion, Curves, Diagram, Model, ModelRow, Page, Run, TestSummary,
};
use augment::Image;
use serde_json::json;
use std::collections::BTreeSet;

const METRICS: &str = r#"{"kind":"train","step":1,"loss":2.3,"top1_error":0.9,"rate":0.01}
{"kind":"train","step":2,"loss":2.0,"top1_error":0.8,"rate":0.001}
{"kind":"validation","step":2,"epoch":1,"loss":1.5,"top1_error":0.5,"top5_error":0.1,"seconds":3}"#;

/// A run with all data and with names that need escaping.
fn full(name: &str) -> Run {
    let image = |shade| Image::filled(8, 8, [shade; 3]);
    let cat = "<cat> & \"dog\"".to_string();
    let guess = Guess {
        image: image(9),
        name: "https://example.com/a.jpg".into(),
        truth: Some(cat.clone()),
        top: vec![("bird".into(), 0.75), (cat.clone(), 0.25)],
    };
    let near = Neighbour { image: image(3), label: "bird".into(), distance: 2.5 };
    let row = ClassRow { name: cat.clone(), images: 3, top1_error: 0.25, ..ClassRow::default() };
    let confusion =
        Confusion { classes: vec![cat.clone(), "bird".into()], counts: vec![2, 1, 0, 4] };
    Run {
        name: name.to_string(),
        status: json!({ "status": "finished", "step": 2, "epoch": 1 }),
        curves: Curves::parse(METRICS),
        model: Some(Model {
            name: "net".into(),
            diagram: Diagram { name: "net".into(), input: [8, 8, 3], ..Diagram::default() },
            rows: vec![ModelRow { name: "conv1".into(), parameters: 1234, ..ModelRow::default() }],
        }),
        classes: Some(2),
        config: Some("seed = 0 # </pre><script>alert(1)</script>".into()),
        environment: Some("{}".into()),
        tested: Some(TestSummary { classes: vec![row], confusion, ..TestSummary::default() }),
        kernels: Some((image(1), "Two kernels.".into())),
        guesses: vec![guess.clone()],
        mistakes: vec![guess],
        neighbours: vec![Neighbours { image: image(2), label: cat, nearest: vec![near; 6] }],
        explained: vec![Explained {
            name: "<a>.jpg".into(),
            class: ("bird".into(), 0.75),
            truth: Some("<cat>".into()),
            pictures: vec![("Image".into(), image(5)), ("Grad-CAM".into(), image(6))],
        }],
        missing: Vec::new(),
    }
}

fn page(runs: Vec<Run>) -> String {
    Page { title: "A <title>".into(), runs }.to_html()
}

/// Element names and `id` values; checks that elements are properly nested.
fn walk(html: &str) -> (Vec<&str>, Vec<&str>) {
    const VOID: [&str; 4] = ["meta", "link", "img", "br"];
    let (mut open, mut names, mut ids): (Vec<&str>, Vec<&str>, Vec<&str>) = Default::default();
    let mut rest = html.strip_prefix("<!doctype html>").expect("a doctype");
    while let Some(start) = rest.find('<') {
        assert!(!rest[..start].contains('>'), "a stray > before {:.60}", &rest[start..]);
        let end = start + rest[start..].find('>').expect("every < has its >");
        let tag = &rest[start + 1..end];
        assert!(!tag.contains('<'), "<{tag}>");
        let name = tag.trim_start_matches('/').split([' ', '/', '\n']).next().unwrap();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "closed out of turn before {:.60}", &rest[end..]);
        } else {
            names.push(name);
            ids.extend(tag.split(" id=\"").nth(1).map(|id| id.split('"').next().unwrap()));
            if !tag.ends_with('/') && !VOID.contains(&name) {
                open.push(name);
            }
        }
        rest = &rest[end + 1..];
        if name == "style" && !tag.starts_with('/') {
            rest = &rest[rest.find("</style>").expect("a style ends")..];
        }
    }
    assert!(open.is_empty(), "{open:?} is never closed");
    (names, ids)
}

#[test]
fn a_full_page_is_well_formed_and_has_every_section() {
    let html = page(vec![full("one"), full("two")]);
    let (names, ids) = walk(&html);
    let distinct: BTreeSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), ids.len(), "ids are unique: {ids:?}");
    for section in [
        "kernels",
        "predictions",
        "neighbours",
        "mistakes",
        "confusion",
        "classes",
        "model",
        "settings",
    ] {
        for run in 0..2 {
            let id = format!("{section}-{run}");
            assert!(ids.contains(&id.as_str()), "{id}");
        }
    }
    assert!(ids.contains(&"curves"));
    let images = names.iter().filter(|name| **name == "img").count();
    assert_eq!(images, 2 * (1 + 1 + 1 + 7 + 2));
    assert_eq!(html.matches(" alt=\"").count(), images);
    assert_eq!(
        html.matches("rate 0.001").count(),
        2 * 4,
        "each run's learning-rate drop, four plots"
    );
}

#[test]
fn the_page_loads_nothing_and_has_no_scripts() {
    let html = page(vec![full("one")]);
    assert!(!html.contains("<script") && !html.contains("@import") && !html.contains("url("));
    for attribute in ["src=\"", "href=\""] {
        for value in html.split(attribute).skip(1) {
            let local = value.starts_with("data:") || value.starts_with('#');
            assert!(local, "{attribute}{:.60}", value);
        }
    }
    assert!(!html.contains("<cat>") && html.contains("&lt;cat&gt; &amp; &quot;dog&quot;"));
}

#[test]
fn a_run_without_data_lists_what_is_missing() {
    let missing = vec!["There are no weights yet.".to_string()];
    let html = page(vec![Run { name: "new".into(), missing, ..Run::default() }]);
    let (_, ids) = walk(&html);
    for text in ["no weights yet", "No step has been measured yet", "There is no config.toml"] {
        assert!(html.contains(text), "{text}");
    }
    assert!(!ids.contains(&"kernels-0"));
}

#[test]
fn equal_runs_give_equal_pages() {
    assert_eq!(page(vec![full("one")]), page(vec![full("one")]));
}

/// With early stopping the numbers are those of the weights, not of the last validation.
#[test]
fn early_stopping_is_explained_and_its_numbers_are_those_of_the_weights() {
    let later = r#"{"kind":"validation","step":4,"epoch":2,"loss":1.75,"top1_error":0.625,"top5_error":0.2,"seconds":6}"#;
    let kept = json!({ "metric": "error", "step": 2, "epoch": 1, "value": 0.5, "stale": 1,
        "patience": 1, "stopped": true });
    let run = |status| Run {
        name: "run".into(),
        status,
        curves: Curves::parse(&format!("{METRICS}\n{later}")),
        ..Run::default()
    };
    let html = page(vec![run(json!({ "status": "finished", "early_stopping": kept }))]);
    assert!(html.contains("Stopped early: the validation&#39;s top-1 error has not"), "{html}");
    assert!(html.contains("top-1 error 50.00 %, after epoch 1 (step 2)."), "{html}");
    assert!(html.contains("<dt>top-1 error</dt><dd>50.00 %</dd>"), "{html}");
    assert!(html.contains("<dt>loss</dt><dd>1.5000</dd>"), "{html}");
    let html = page(vec![run(json!({ "status": "finished" }))]);
    assert!(html.contains("<dt>top-1 error</dt><dd>62.50 %</dd>"), "{html}");
}
