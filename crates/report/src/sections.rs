//! The sections of the page about one run.

use crate::explain::{self, Explained};
use crate::figures::{Guess, Neighbours};
use crate::kernels::GROUND;
use crate::markup::escape;
use crate::picture::{data_uri, png_uri, thumbnail, to_keyed_png};
use crate::run::{ClassRow, Model, Run, TestSummary};
use crate::verdict::{facts, verdict};
use augment::Image;
use files::numbers::{grouped, percent};
use std::fmt::Write;

/// Maximum side of embedded images in pixels.
const THUMBNAIL: usize = 128;
/// Tables of more classes show only the worst.
const MAX_CLASSES: usize = 40;

/// All sections of a run, and their ids and titles.
pub fn run(run: &Run, number: usize, several: bool) -> (String, Vec<(String, &'static str)>) {
    let mut html = format!("<section id=\"run-{number}\">\n");
    if several {
        html += &format!("<h2>{}</h2>\n", escape(&run.name));
        html += &introduction(run);
        html += &tiles(run);
    }
    if let Some(error) = run.status["error"].as_str() {
        html += &format!("<p class=\"missing\">The run failed: {}</p>\n", escape(error));
    }
    if let Some(kept) = run.kept_weights() {
        html += &format!("<p class=\"note\">{}</p>\n", escape(&kept.to_string()));
    }
    for sentence in &run.missing {
        html += &format!("<p class=\"missing\">{}</p>\n", escape(sentence));
    }
    let parts = [
        ("kernels", "First-layer kernels", run.kernels.as_ref().map(kernels)),
        ("predictions", "Predictions", guesses(&run.guesses, PREDICTIONS)),
        ("explanations", "Explanations", explanations(&run.explained)),
        ("neighbours", "Nearest training images", neighbours(&run.neighbours)),
        ("mistakes", "Worst mistakes", guesses(&run.mistakes, MISTAKES)),
        ("confusion", "Confusion", run.tested.as_ref().map(|tested| confusion(tested, number))),
        ("classes", "Errors by class", run.tested.as_ref().map(classes)),
        ("quality", "Quality measures", run.tested.as_ref().map(|tested| quality(tested, number))),
        ("model", "The model", run.model.as_ref().map(|found| model(found, number))),
        ("settings", "Settings", Some(settings(run))),
    ];
    let mut titles = Vec::new();
    for (id, title, body) in parts {
        if let Some(body) = body {
            let (id, heading) = (format!("{id}-{number}"), if several { "h3" } else { "h2" });
            let _ = write!(
                html,
                "<section id=\"{id}\">\n<{heading}>{title}</{heading}>\n{body}</section>\n"
            );
            titles.push((id, title));
        }
    }
    (html + "</section>\n", titles)
}

/// What a run was about, and how good its network is.
pub fn introduction(run: &Run) -> String {
    let facts: Vec<String> = facts(run).iter().map(|fact| escape(fact)).collect();
    let mut html = String::new();
    if !facts.is_empty() {
        let _ = writeln!(html, "<p class=\"soft\">{}</p>", facts.join(" · "));
    }
    if let Some(verdict) = verdict(run) {
        let _ = writeln!(html, "<p class=\"verdict\">{}</p>", escape(&verdict));
    }
    html
}

/// Links to sections.
pub fn contents(titles: &[(String, &'static str)]) -> String {
    let link = |(id, title): &(String, &str)| format!("<li><a href=\"#{id}\">{title}</a></li>");
    let links: String = titles.iter().map(link).collect();
    format!("<nav aria-label=\"Contents\"><ul>{links}</ul></nav>\n")
}

/// The main results in a few numbers.
pub fn tiles(run: &Run) -> String {
    let mut tiles = Vec::new();
    let mut tile = |name: &'static str, value: Option<String>| {
        tiles.extend(value.map(|value| (name, value)));
    };
    let kept = run.kept_weights();
    let last = kept.and_then(|kept| kept.validation).or(run.curves.validation.last());
    let tested = run.tested.as_ref();
    let pick = |tested: Option<f64>, validated: Option<f64>| tested.or(validated);
    let top1 = pick(tested.map(|t| t.top1_error), last.map(|l| l.top1_error));
    let top5 = pick(tested.and_then(|t| t.top5_error), last.and_then(|l| l.top5_error));
    let loss = pick(tested.map(|t| t.loss), last.map(|l| l.loss));
    tile("top-1 error", top1.map(percent));
    tile("top-5 error", top5.map(percent));
    tile("loss", loss.map(|loss| format!("{loss:.4}")));
    tile("model", run.model.as_ref().map(|model| model.name.clone()));
    tile("status", run.status["status"].as_str().map(String::from));
    tile("steps", run.status["step"].as_u64().map(|step| grouped(step as usize)));
    tile("epoch", run.status["epoch"].as_u64().map(|epoch| epoch.to_string()));
    let speed = run.curves.train.last().map(|at| at.images_per_s).filter(|&speed| speed > 0.0);
    tile("images/s", speed.map(|speed| grouped(speed.round() as usize)));
    if tiles.is_empty() {
        return String::new();
    }
    let mut html = String::from("<dl class=\"tiles\">");
    for (name, value) in tiles {
        let _ = write!(html, "<div><dt>{name}</dt><dd>{}</dd></div>", escape(&value));
    }
    html += "</dl>\n";
    if let Some(tested) = tested {
        let _ = writeln!(html, "<p class=\"soft\">Errors are of {}.</p>", escape(&tested.on));
    }
    html
}

fn kernels((image, caption): &(Image, String)) -> String {
    format!(
        "<p>{}</p>\n<figure class=\"kernels\"><img class=\"pixels\" width=\"{}\" height=\"{}\" \
         alt=\"The first layer's kernels side by side\" src=\"{}\"></figure>\n",
        escape(caption),
        image.width,
        image.height,
        png_uri(&to_keyed_png(image, Some(GROUND))),
    )
}

const PREDICTIONS: &str = "Test images and their most probable classes, as in Figure 4 of the \
    paper (left). The bar of the true class is blue and outlined.";
const MISTAKES: &str = "The test images with the lowest probability of their true class.";

fn guesses(guesses: &[Guess], caption: &str) -> Option<String> {
    let cards: String = guesses.iter().map(card).collect();
    let note = format!("<p>{caption}</p>\n<div class=\"cards\">{cards}</div>\n");
    (!guesses.is_empty()).then_some(note)
}

fn card(guess: &Guess) -> String {
    let label = guess.truth.as_ref().unwrap_or(&guess.name);
    let predicted = guess.top.first().map_or("nothing", |(class, _)| class.as_str());
    let mut bars = String::new();
    for (class, probability) in &guess.top {
        let own = if guess.truth.as_ref() == Some(class) { " class=\"true\"" } else { "" };
        let share = 100.0 * probability.clamp(0.0, 1.0);
        let _ = write!(
            bars,
            "<li{own} style=\"--p:{share:.1}%\"><span>{}</span><span>{share:.1} %</span></li>",
            escape(class)
        );
    }
    format!(
        "<figure title=\"{}\">{}<figcaption>{}</figcaption><ol class=\"bars\">{bars}</ol></figure>",
        escape(&guess.name),
        picture(&guess.image, &format!("{label}, predicted as {predicted}")),
        escape(label),
    )
}

fn explanations(images: &[Explained]) -> Option<String> {
    const CAPTION: &str = "<p>Grad-CAM: the parts of the image that speak for the predicted \
        class in the last convolution. Saliency: the gradient of the class score by guided \
        backpropagation; grey is zero.</p>\n";
    (!images.is_empty()).then(|| CAPTION.to_string() + &explain::rows(images))
}

fn picture(image: &Image, alt: &str) -> String {
    let small = thumbnail(image, THUMBNAIL);
    let pixels = if small.width.max(small.height) < THUMBNAIL { " class=\"pixels\"" } else { "" };
    format!(
        "<img{pixels} width=\"{}\" height=\"{}\" alt=\"{}\" src=\"{}\">",
        small.width,
        small.height,
        escape(alt),
        data_uri(&small)
    )
}

fn neighbours(all: &[Neighbours]) -> Option<String> {
    let mut html = String::from(
        "<p>Test images (first) and the training images with the nearest activations of the last \
         hidden layer by Euclidean distance, as in Figure 4 of the paper (right). Classes that \
         differ from the test image's are red.</p>\n<div class=\"neighbours\">",
    );
    for one in all {
        let _ = write!(
            html,
            "<div class=\"row\"><figure>{}<figcaption>{}</figcaption></figure>",
            picture(&one.image, &format!("Test image: {}", one.label)),
            escape(&one.label),
        );
        for near in &one.nearest {
            let other = if near.label == one.label { "" } else { " class=\"other\"" };
            let _ = write!(
                html,
                "<figure>{}<figcaption{other}>{} <span class=\"soft\">{:.1}</span></figcaption>\
                 </figure>",
                picture(&near.image, &format!("Training image: {}", near.label)),
                escape(&near.label),
                near.distance,
            );
        }
        html += "</div>";
    }
    (!all.is_empty()).then(|| html + "</div>\n")
}

fn confusion(tested: &TestSummary, number: usize) -> String {
    let confusion = &tested.confusion;
    let mut html = String::from("<p>Rows are true classes, columns predicted classes.</p>\n");
    if confusion.is_small() {
        html += &confusion.to_svg(&format!("confusion-svg-{number}"));
    } else {
        let image = confusion.draw();
        let _ = write!(
            html,
            "<figure class=\"kernels\"><img class=\"pixels\" width=\"{0}\" height=\"{0}\" \
             alt=\"Confusion matrix; correct predictions are on the diagonal\" \
             src=\"{1}\"></figure>",
            image.width.max(320),
            data_uri(&image)
        );
    }
    let pairs = confusion.worst_pairs(10);
    if pairs.is_empty() {
        return html + "<p>No image was misclassified.</p>\n";
    }
    html += "<h4>Most confused</h4>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" \
             aria-label=\"Most confused\"><table><thead><tr><th>class</th><th>predicted as</th>\
             <th class=\"n\">images</th></tr></thead><tbody>";
    for (class, other, images) in pairs {
        let (class, other) = (escape(class), escape(other));
        let _ =
            write!(html, "<tr><td>{class}</td><td>{other}</td><td class=\"n\">{images}</td></tr>");
    }
    html + "</tbody></table></div>\n"
}

fn quality(tested: &TestSummary, number: usize) -> String {
    crate::quality::to_html(&tested.quality, &format!("reliability-{number}"))
}

fn classes(tested: &TestSummary) -> String {
    let mut rows: Vec<&ClassRow> = tested.classes.iter().collect();
    let mut html = String::new();
    if rows.len() > MAX_CLASSES {
        rows.sort_by(|a, b| b.top1_error.total_cmp(&a.top1_error).then(a.name.cmp(&b.name)));
        rows.truncate(MAX_CLASSES);
        let of = tested.classes.len();
        let _ = write!(html, "<p>The {MAX_CLASSES} of {of} classes with the largest error.</p>");
    }
    let has_top5 = rows.iter().any(|row| row.top5_error.is_some());
    let top5 = if has_top5 { "<th class=\"n\">top-5 error</th>" } else { "" };
    let _ = write!(
        html,
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Errors by class\">\
         <table><thead><tr><th>class</th><th class=\"n\">images</th><th class=\"n\">top-1 \
         error</th><th></th>{top5}<th class=\"n\">precision</th><th class=\"n\">F1</th></tr>\
         </thead><tbody>"
    );
    for row in rows {
        let top5 = row.top5_error.map(|error| format!("<td class=\"n\">{}</td>", percent(error)));
        let _ = write!(
            html,
            "<tr><th>{}</th><td class=\"n\">{}</td><td class=\"n\">{}</td><td>\
             <span class=\"meter\" aria-hidden=\"true\">\
             <i style=\"width:{:.1}%\"></i></span></td>{}\
             <td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            escape(&row.name),
            row.images,
            percent(row.top1_error),
            100.0 * row.top1_error,
            top5.unwrap_or_default(),
            percent(row.rates.precision),
            percent(row.rates.f1),
        );
    }
    html + "</tbody></table></div>\n"
}

fn model(model: &Model, number: usize) -> String {
    let mut html = format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" \
         aria-label=\"The model's diagram\">{}</div>\n\
         <div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"The model's rows\">\
         <table>\
         <caption>{}</caption><thead><tr><th>row</th><th>what</th><th class=\"n\">output</th>\
         <th class=\"n\">parameters</th><th class=\"n\">MACs per image</th></tr></thead><tbody>",
        model.diagram.to_svg(&format!("diagram-{number}")),
        escape(&model.name)
    );
    let dash = |n: usize| if n == 0 { String::new() } else { grouped(n) };
    for row in &model.rows {
        let _ = write!(
            html,
            "<tr><th>{}</th><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{}</td></tr>",
            escape(&row.name),
            escape(&row.summary),
            escape(&row.output).replace(" x ", " × "),
            dash(row.parameters),
            dash(row.macs),
        );
    }
    let _ = write!(
        html,
        "<tr class=\"total\"><th>total</th><td></td><td></td><td class=\"n\">{}</td>\
         <td class=\"n\">{}</td></tr>",
        grouped(model.rows.iter().map(|row| row.parameters).sum()),
        grouped(model.rows.iter().map(|row| row.macs).sum()),
    );
    html + "</tbody></table></div>\n"
}

fn settings(run: &Run) -> String {
    let mut html = String::new();
    for (title, file, text) in [
        ("Configuration", "config.toml", &run.config),
        ("Environment", "env.json", &run.environment),
    ] {
        match text {
            Some(text) => {
                let text = escape(text);
                let _ = writeln!(
                    html,
                    "<details><summary>{title} ({file})</summary><pre tabindex=\"0\">{text}</pre>\
                     </details>"
                );
            }
            None => {
                let _ = writeln!(html, "<p class=\"missing\">There is no {file}.</p>");
            }
        }
    }
    html
}
