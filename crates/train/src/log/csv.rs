//! Losses and errors for spreadsheets.

use super::Record;

pub(super) const HEADER: &str =
    "kind,step,epoch,loss,top1_error,top5_error,rate,images_per_s,data_wait,images,seconds\n";

/// A record as a line, if it is one of those that the columns are for.
pub(super) fn line(record: &Record) -> Option<String> {
    Some(match record {
        Record::Train { step, epoch, loss, top1_error, rate, images_per_s, data_wait } => {
            format!(
                "train,{step},{epoch},{loss},{top1_error},,{rate},{images_per_s},{data_wait},,\n"
            )
        }
        Record::Validation { step, epoch, score, seconds } => {
            let top5 = score.top5_error.map_or_else(String::new, |error| error.to_string());
            format!(
                "validation,{step},{epoch},{},{},{top5},,,,{},{seconds}\n",
                score.loss, score.top1_error, score.images
            )
        }
        Record::Layers { .. } | Record::Warning { .. } => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_headers_columns() {
        let columns = |line: &str| line.trim_end().split(',').count();
        let lines: Vec<String> = super::super::tests::records().iter().filter_map(line).collect();
        assert_eq!(
            lines,
            ["train,3,1,1.5,0.75,,0.01,100,0.125,,\n", "validation,3,1,0.5,0.25,0,,,,8,2\n"]
        );
        assert!(lines.iter().all(|line| columns(line) == columns(HEADER)));
    }
}
