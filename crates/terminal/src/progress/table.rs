//! A table of validations, a row each, as they come.

use super::{duration, percent};
use evaluate::observe::{StepReport, ValidationReport};

/// Spaces between columns.
const GAP: usize = 2;

/// A column: its name and its width; of little importance if it is left out of narrow terminals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Column {
    kind: Kind,
    name: &'static str,
    width: usize,
    /// 0: the most important.
    importance: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Epoch,
    TrainLoss,
    TrainError,
    Loss,
    Error,
    Top5Error,
    Rate,
    Speed,
    Time,
    Best,
}

/// All columns, in their order.
const COLUMNS: [Column; 10] = [
    Column { kind: Kind::Epoch, name: "epoch", width: 7, importance: 0 },
    Column { kind: Kind::TrainLoss, name: "train loss", width: 10, importance: 4 },
    Column { kind: Kind::TrainError, name: "train err", width: 9, importance: 7 },
    Column { kind: Kind::Loss, name: "val loss", width: 8, importance: 2 },
    Column { kind: Kind::Error, name: "val err", width: 8, importance: 0 },
    Column { kind: Kind::Top5Error, name: "top-5", width: 8, importance: 8 },
    Column { kind: Kind::Rate, name: "rate", width: 8, importance: 5 },
    Column { kind: Kind::Speed, name: "images/s", width: 8, importance: 6 },
    Column { kind: Kind::Time, name: "time", width: 11, importance: 3 },
    Column { kind: Kind::Best, name: "best", width: 4, importance: 1 },
];

/// The table so far.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// The columns of the last header.
    columns: Vec<Column>,
}

impl Table {
    /// The row of a validation on a terminal of `columns` columns, below a header if it is the
    /// first, or the width has changed. `step` is the last step before it.
    pub(super) fn row(
        &mut self,
        r: &ValidationReport,
        step: Option<&StepReport>,
        columns: usize,
    ) -> String {
        let chosen = chosen(columns, r.score.top5_error.is_some());
        let row = line(&chosen, |column| cell(column.kind, r, step));
        if chosen == self.columns {
            return row;
        }
        let header = line(&chosen, |column| column.name.to_string());
        self.columns = chosen;
        format!("{header}\n{row}")
    }
}

/// A header and a row for each validation, with the last step before it, on a terminal of `columns`
/// columns.
pub(crate) fn lines(
    rows: &[(ValidationReport, Option<StepReport>)],
    columns: usize,
) -> Vec<String> {
    let has_top5 = rows.iter().any(|(report, _)| report.score.top5_error.is_some());
    let chosen = chosen(columns, has_top5);
    let header = line(&chosen, |column| column.name.to_string());
    let row = |(report, step): &(ValidationReport, Option<StepReport>)| {
        line(&chosen, |column| cell(column.kind, report, step.as_ref()))
    };
    std::iter::once(header).chain(rows.iter().map(row)).collect()
}

/// The columns that fit, the most important first.
fn chosen(columns: usize, has_top5: bool) -> Vec<Column> {
    let mut chosen: Vec<Column> =
        COLUMNS.into_iter().filter(|column| has_top5 || column.kind != Kind::Top5Error).collect();
    let width = |chosen: &[Column]| chosen.iter().map(|c| c.width + GAP).sum::<usize>() - GAP;
    while width(&chosen) > columns {
        let least = chosen.iter().map(|column| column.importance).max().unwrap_or(0);
        if least == 0 {
            break; // nothing to leave out
        }
        chosen.retain(|column| column.importance < least);
    }
    chosen
}

fn line(columns: &[Column], text: impl Fn(&Column) -> String) -> String {
    let cells = columns.iter().map(|column| format!("{:>1$}", text(column), column.width));
    cells.collect::<Vec<_>>().join(&" ".repeat(GAP)).trim_end().to_string()
}

fn cell(kind: Kind, r: &ValidationReport, step: Option<&StepReport>) -> String {
    let of_step = |show: &dyn Fn(&StepReport) -> String| step.map_or_else(|| "-".into(), show);
    match kind {
        Kind::Epoch => format!("{}/{}", r.epoch, r.epochs),
        Kind::TrainLoss => format!("{:.4}", r.train_loss),
        Kind::TrainError => percent(r.train_top1_error),
        Kind::Loss => format!("{:.4}", r.score.loss),
        Kind::Error => percent(r.score.top1_error),
        Kind::Top5Error => r.score.top5_error.map_or_else(|| "-".into(), percent),
        Kind::Rate => of_step(&|step| rate(step.rate)),
        Kind::Speed => of_step(&|step| format!("{:.0}", step.images_per_s)),
        Kind::Time => duration(r.seconds),
        Kind::Best => if r.is_best { "*" } else { "" }.to_string(),
    }
}

/// A rate in at most eight characters.
fn rate(rate: f64) -> String {
    let text = (rate as f32).to_string(); // hides rounding errors of f64
    if text.len() <= 8 { text } else { format!("{rate:.2e}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evaluate::Score;

    fn step() -> StepReport {
        StepReport {
            step: 100,
            steps: 9000,
            epoch: 1,
            epochs: 90,
            loss: 2.0,
            top1_error: 0.5,
            rate: 0.01,
            images_per_s: 12345.6,
            data_wait: 0.0,
            eta_s: 1.0,
        }
    }

    fn validation(epoch: u32, is_best: bool) -> ValidationReport {
        let score = Score { loss: 1.5, top1_error: 0.4251, top5_error: Some(0.1), images: 9 };
        ValidationReport {
            step: 100,
            epoch,
            epochs: 90,
            score,
            train_loss: 2.25,
            train_top1_error: 0.613,
            is_best,
            seconds: 3599.0,
        }
    }

    #[test]
    fn a_table_has_one_header_and_fits_its_terminal() {
        let text = |columns| {
            let mut table = Table::default();
            let first = table.row(&validation(1, true), Some(&step()), columns);
            first + "\n" + &table.row(&validation(2, false), Some(&step()), columns)
        };
        let narrow = [
            "  epoch  val loss   val err         time  best",
            "   1/90    1.5000   42.51 %  59 min 59 s     *",
            "   2/90    1.5000   42.51 %  59 min 59 s",
        ];
        assert_eq!(text(50), narrow.join("\n"));
        let usual = [
            "  epoch  train loss  val loss   val err      rate         time  best",
            "   1/90      2.2500    1.5000   42.51 %      0.01  59 min 59 s     *",
            "   2/90      2.2500    1.5000   42.51 %      0.01  59 min 59 s",
        ];
        assert_eq!(text(70), usual.join("\n"));
        let wide = [
            "  epoch  train loss  train err  val loss   val err     top-5      rate  images/s  \
             \x20      time  best",
            "   1/90      2.2500    61.30 %    1.5000   42.51 %   10.00 %      0.01     12346  \
             59 min 59 s     *",
            "   2/90      2.2500    61.30 %    1.5000   42.51 %   10.00 %      0.01     12346  \
             59 min 59 s",
        ];
        let wide = wide.join("\n");
        assert_eq!(text(100), wide);
        assert_eq!(text(120), wide);
        for columns in [60, 80, 100, 120] {
            assert!(text(columns).lines().all(|line| line.chars().count() <= columns));
        }
    }

    #[test]
    fn a_new_width_has_a_new_header() {
        let mut table = Table::default();
        table.row(&validation(1, true), None, 80);
        assert_eq!(table.row(&validation(2, true), None, 80).lines().count(), 1);
        assert_eq!(table.row(&validation(3, true), None, 60).lines().count(), 2);
        let mut few = validation(4, false);
        few.score.top5_error = None;
        assert!(!table.row(&few, None, 120).contains("top-5"));
    }

    #[test]
    fn long_rates_are_shortened() {
        assert_eq!((rate(0.01), rate(0.000123456789)), ("0.01".into(), "1.23e-4".into()));
    }
}
