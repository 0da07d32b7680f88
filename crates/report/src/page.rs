//! One or more runs as a self-contained HTML file: inline style, SVG and images, no scripts.

use crate::document::document;
use crate::markup::escape;
use crate::plot::color_class;
use crate::progress::{Measure, plot_of};
use crate::run::Run;
use crate::sections;
use files::numbers::percent;

/// A page of one or more runs.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Its heading.
    pub title: String,
    /// The runs, compared first and shown one after the other below.
    pub runs: Vec<Run>,
}

impl Page {
    /// A page of runs; the title of a single run is its name.
    pub fn of(runs: Vec<Run>) -> Page {
        let title = match &runs[..] {
            [run] => run.name.clone(),
            several => format!("{} runs compared", several.len()),
        };
        Page { title, runs }
    }

    /// The page as HTML.
    pub fn to_html(&self) -> String {
        let several = self.runs.len() > 1;
        let mut main = self.curves();
        let mut titles = vec![("curves".to_string(), "Progress")];
        for (number, run) in self.runs.iter().enumerate() {
            let (html, of_run) = sections::run(run, number, several);
            main += &html;
            titles.extend(of_run);
        }
        let header = match &self.runs[..] {
            [run] => {
                let head = sections::introduction(run) + &sections::tiles(run);
                head + &sections::contents(&titles)
            }
            _ => self.contents(),
        };
        document(&self.title, &header, &main)
    }

    /// Whether a run has the top-5 error of a validation.
    fn has_top5(&self) -> bool {
        let mut points = self.runs.iter().flat_map(|run| &run.curves.validation);
        points.any(|point| point.top5_error.is_some())
    }

    /// The runs side by side.
    fn contents(&self) -> String {
        let has_top5 = self.has_top5();
        let top5 = if has_top5 { "<th class=\"n\">top-5 error</th>" } else { "" };
        let mut html = format!(
            "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Runs compared\">\
             <table><caption>Last validation of each run</caption><thead><tr><th>run</th>\
             <th>model</th><th>status</th><th class=\"n\">steps</th>\
             <th class=\"n\">top-1 error</th>{top5}<th class=\"n\">loss</th></tr></thead><tbody>",
        );
        for (number, run) in self.runs.iter().enumerate() {
            let kept = run.kept_weights().and_then(|kept| kept.validation);
            let last = kept.or(run.curves.validation.last());
            let cell = |text: Option<String>| {
                format!("<td class=\"n\">{}</td>", text.unwrap_or_else(|| "–".to_string()))
            };
            html += &format!(
                "<tr><th><a href=\"#run-{number}\">{}</a></th><td>{}</td><td>{}</td>{}{}{}{}</tr>",
                escape(&run.name),
                escape(run.model.as_ref().map_or("–", |model| &model.name)),
                escape(run.status["status"].as_str().unwrap_or("unknown")),
                cell(run.status["step"].as_u64().map(|step| step.to_string())),
                cell(last.map(|at| percent(at.top1_error))),
                if has_top5 {
                    cell(last.and_then(|at| at.top5_error).map(percent))
                } else {
                    String::new()
                },
                cell(last.map(|at| format!("{:.4}", at.loss))),
            );
        }
        html + "</tbody></table></div>\n"
    }

    fn curves(&self) -> String {
        let mut html = String::from("<section id=\"curves\">\n<h2>Progress</h2>\n");
        if self.runs.iter().all(|run| run.curves.is_empty()) {
            return html + "<p class=\"missing\">No step has been measured yet.</p>\n</section>\n";
        }
        html += "<div class=\"plots\">";
        for (measure, id) in [(Measure::Loss, "loss"), (Measure::Error, "error")] {
            let plot = plot_of(&self.runs, measure);
            // Two plots, for wide and narrow screens, as text keeps its size.
            html += &format!(
                "<figure><div class=\"broad\">{}</div><div class=\"narrow\">{}</div></figure>",
                plot.to_svg(&format!("{id}-broad"), 480.0, 320.0),
                plot.to_svg(&format!("{id}-narrow"), 360.0, 270.0),
            );
        }
        html += "</div>\n<ul class=\"legend\">";
        let swatch = |class: &str| {
            format!(
                "<svg viewBox=\"0 0 36 12\" aria-hidden=\"true\"><line class=\"{class}\" x1=\"0\" \
                 x2=\"36\" y1=\"6\" y2=\"6\"/></svg>"
            )
        };
        if self.runs.len() > 1 {
            for (number, run) in self.runs.iter().enumerate() {
                let line = swatch(&color_class(number));
                html += &format!("<li>{line}{}</li>", escape(&run.name));
            }
        }
        let kinds =
            [("thin", "training, smoothed"), ("", "validation"), ("dashed", "validation, top-5")];
        for (class, text) in &kinds[..if self.has_top5() { 3 } else { 2 }] {
            let color = if self.runs.len() > 1 { "" } else { " s1" };
            html += &format!("<li>{}{text}</li>", swatch(&format!("{class}{color}")));
        }
        html += "</ul>\n";
        if self.runs.iter().any(|run| !run.curves.drops().is_empty()) {
            html += "<p class=\"note\">Dotted: learning-rate drops.</p>\n";
        }
        html + "</section>\n"
    }
}
