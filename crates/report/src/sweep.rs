//! A page about many runs with different settings.

use crate::curves::Curves;
use crate::document::document;
use crate::markup::escape;
use crate::plot::{Plot, Series, Stroke, XAxis};
use std::fmt::Write;

/// A sweep's page.
#[derive(Clone, Debug, Default)]
pub struct SweepPage {
    /// Its heading.
    pub title: String,
    /// What was done, in a sentence.
    pub summary: String,
    /// What is compared: `validation error`.
    pub metric: String,
    /// Whether it is a share.
    pub percent: bool,
    /// The parameters.
    pub parameters: Vec<SweepParameter>,
    /// The trials, best first.
    pub trials: Vec<SweepTrial>,
    /// The command that makes the best run again.
    pub command: Option<String>,
}

/// A parameter of a sweep.
#[derive(Clone, Debug, Default)]
pub struct SweepParameter {
    /// Its name.
    pub key: String,
    /// Its axis.
    pub x_axis: XAxis,
    /// If its values are no numbers: their names, by position.
    pub choices: Vec<String>,
}

/// A run of a sweep.
#[derive(Clone, Debug, Default)]
pub struct SweepTrial {
    /// Its name.
    pub name: String,
    /// A relative link to its folder.
    pub link: String,
    /// The value of each parameter.
    pub values: Vec<String>,
    /// Its place on the axis of each parameter.
    pub positions: Vec<f64>,
    /// What is compared; `None` if it diverged.
    pub value: Option<f64>,
    /// The value for people.
    pub shown: String,
    /// Epochs done.
    pub epochs: u32,
    /// Why it ended, if not after its epochs.
    pub state: String,
    /// Its measurements.
    pub curves: Curves,
}

const BROAD: (f64, f64) = (480.0, 260.0);

impl SweepPage {
    /// The page as HTML.
    pub fn to_html(&self) -> String {
        let mut header = format!("<p>{}</p>\n", escape(&self.summary));
        if let Some(command) = &self.command {
            let command = escape(command);
            let _ =
                write!(header, "<p>The best run again:</p>\n<pre tabindex=\"0\">{command}</pre>\n");
        }
        let main = self.table() + &self.scatters() + &self.curves();
        document(&self.title, &header, &main)
    }

    fn table(&self) -> String {
        let mut html = String::from(
            "<section id=\"trials\">\n<h2>Trials</h2>\n<div class=\"scroll\" tabindex=\"0\" \
             role=\"region\" aria-label=\"Trials\"><table><thead><tr><th>trial</th>",
        );
        for parameter in &self.parameters {
            let _ = write!(html, "<th class=\"n\">{}</th>", escape(&parameter.key));
        }
        let _ = write!(
            html,
            "<th class=\"n\">epochs</th><th class=\"n\">{}</th><th></th></tr></thead><tbody>",
            escape(&self.metric)
        );
        for trial in &self.trials {
            let (link, name) = (escape(&trial.link), escape(&trial.name));
            let _ = write!(html, "<tr><th><a href=\"{link}\">{name}</a></th>");
            for value in &trial.values {
                let _ = write!(html, "<td class=\"n\">{}</td>", escape(value));
            }
            let _ = write!(
                html,
                "<td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td></tr>",
                trial.epochs,
                escape(&trial.shown),
                escape(&trial.state)
            );
        }
        html + "</tbody></table></div>\n</section>\n"
    }

    /// Each parameter against the metric.
    fn scatters(&self) -> String {
        let measured = self.trials.iter().filter(|trial| trial.value.is_some()).count();
        if measured == 0 {
            return "<p class=\"missing\">No trial has been measured yet.</p>\n".to_string();
        }
        let mut html = String::from(
            "<section id=\"parameters\">\n<h2>Parameters</h2>\n<p>A dot is a trial; the best one is \
             red.",
        );
        let without = self.trials.len() - measured;
        if without > 0 {
            let _ = write!(html, " {without} without a result are left out.");
        }
        html += "</p>\n<div class=\"plots\">";
        for (at, parameter) in self.parameters.iter().enumerate() {
            let svg =
                self.scatter(at, parameter).to_svg(&format!("parameter-{at}"), BROAD.0, BROAD.1);
            let names = parameter.choices.iter().enumerate();
            let names: Vec<String> =
                names.map(|(at, name)| format!("{at}: {}", escape(name))).collect();
            let caption = names.join(", ");
            let _ = write!(html, "<figure>{svg}<figcaption>{caption}</figcaption></figure>");
        }
        html + "</div>\n</section>\n"
    }

    fn scatter(&self, at: usize, parameter: &SweepParameter) -> Plot {
        let points = |trials: &[SweepTrial]| -> Vec<(f64, f64)> {
            let point = |trial: &SweepTrial| Some((*trial.positions.get(at)?, trial.value?));
            trials.iter().filter_map(point).collect()
        };
        let dots = |trials, color| Series {
            points: points(trials),
            color,
            stroke: Stroke::Dots,
            label: String::new(),
        };
        let best = &self.trials[..self.trials.len().min(1)];
        Plot {
            title: format!("{} by {}", self.metric, parameter.key),
            description: format!("Each trial's {} over its {}.", self.metric, parameter.key),
            x_label: parameter.key.clone(),
            x_axis: parameter.x_axis,
            y_label: self.metric.clone(),
            percent: self.percent,
            lines: vec![dots(&self.trials, 0), dots(best, 1)],
            marks: Vec::new(),
        }
    }

    /// The validation error of every trial by epoch.
    fn curves(&self) -> String {
        let line = |(rank, trial): (usize, &SweepTrial)| {
            let points = trial.curves.validation.iter().map(|at| (at.epoch, at.top1_error));
            let (color, stroke) = if rank == 0 { (1, Stroke::Plain) } else { (0, Stroke::Faint) };
            Series { points: points.collect(), color, stroke, label: String::new() }
        };
        let lines: Vec<Series> = self.trials.iter().enumerate().map(line).rev().collect();
        if lines.iter().all(|line| line.points.is_empty()) {
            return String::new();
        }
        let plot = Plot {
            title: "Validation error by epoch".to_string(),
            description: format!("The top-1 error of {} trials by epoch.", self.trials.len()),
            x_label: "epoch".to_string(),
            y_label: "top-1 error".to_string(),
            percent: true,
            lines,
            ..Plot::default()
        };
        format!(
            "<section id=\"curves\">\n<h2>Progress</h2>\n<p>A line is a trial; the best one is \
             red.</p>\n<figure class=\"wide\">{}</figure>\n</section>\n",
            plot.to_svg("progress", 720.0, 300.0)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_trial_a_plot_for_each_parameter_and_the_best_command() {
        let trial = |name: &str, rate: f64, value: Option<f64>| SweepTrial {
            name: name.into(),
            link: format!("trials/{name}/"),
            values: vec![rate.to_string(), "<sgd>".into()],
            positions: vec![rate, 0.0],
            value,
            shown: value.map_or("-".into(), |value| format!("{value}")),
            curves: Curves::parse(
                r#"{"kind":"validation","step":2,"epoch":1,"loss":1.5,"top1_error":0.5,"top5_error":0.1,"seconds":3}"#,
            ),
            ..SweepTrial::default()
        };
        let page = SweepPage {
            title: "rates & co".into(),
            metric: "validation error".into(),
            percent: true,
            parameters: vec![
                SweepParameter {
                    key: "recipe.rate".into(),
                    x_axis: XAxis::Logarithmic,
                    choices: Vec::new(),
                },
                SweepParameter {
                    key: "recipe.optimizer".into(),
                    x_axis: XAxis::Linear,
                    choices: vec!["<sgd>".into()],
                },
            ],
            trials: vec![trial("1", 0.01, Some(0.25)), trial("0", 0.1, None)],
            command: Some("alexnet train --set 'recipe.rate=0.01'".into()),
            ..SweepPage::default()
        };
        let html = page.to_html();
        assert!(html.contains("<h1>rates &amp; co</h1>"), "{html}");
        assert!(html.contains("--set &#39;recipe.rate=0.01&#39;</pre>"), "{html}");
        assert!(html.contains("id=\"parameter-0\"") || html.contains("parameter-0-t"), "{html}");
        assert!(html.contains("0: &lt;sgd&gt;") && html.contains("1 without a result"), "{html}");
        assert!(html.contains("<a href=\"trials/0/\">0</a>") && !html.contains("<sgd>"), "{html}");
        assert!(SweepPage::default().to_html().contains("No trial has been measured yet"));
    }
}
