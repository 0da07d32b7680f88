//! A curve as lines of text.

/// A curve over a logarithmic axis.
#[derive(Clone, Copy, Debug)]
pub struct Chart<'a> {
    /// Positive positions, rising, and values.
    pub points: &'a [(f64, f64)],
    /// Values above this are drawn as `^` in the first line.
    pub top: f64,
    /// A position to mark with a vertical line.
    pub mark: Option<f64>,
    /// Columns and lines of the drawing, without its axes.
    pub size: (usize, usize),
}

impl Chart<'_> {
    /// The drawing, with the range of values on its left and that of positions below; empty without
    /// at least two positions.
    pub fn to_text(&self) -> String {
        let (columns, lines) = (self.size.0.max(2), self.size.1.max(2));
        let (Some(first), Some(last)) = (self.points.first(), self.points.last()) else {
            return String::new();
        };
        let (start, end) = (first.0.log10(), last.0.log10());
        let is_wide = end > start && (end - start).is_finite();
        if !is_wide {
            return String::new();
        }
        let column = |position: f64| {
            let share = (position.log10() - start) / (end - start);
            ((share * (columns - 1) as f64).round().max(0.0) as usize).min(columns - 1)
        };
        let bottom = self.points.iter().map(|point| point.1).fold(f64::INFINITY, f64::min);
        let top = self.top.max(bottom + 1e-9 * bottom.abs().max(1e-9));
        let mut rows = vec![vec![' '; columns]; lines];
        if let Some(mark) = self.mark.map(column) {
            rows.iter_mut().for_each(|row| row[mark] = '|');
        }
        for (at, value) in self.means(columns, column) {
            let share = (top - value) / (top - bottom);
            let is_above = share < 0.0;
            let row = (share.max(0.0) * (lines - 1) as f64).round() as usize;
            rows[row.min(lines - 1)][at] = if is_above { '^' } else { '*' };
        }
        let labels = [format!("{top:.3}"), format!("{bottom:.3}")];
        let width = labels.iter().map(String::len).max().unwrap_or(0);
        let mut text = String::new();
        for (number, row) in rows.iter().enumerate() {
            let label = match number {
                0 => &*labels[0],
                _ if number == lines - 1 => &*labels[1],
                _ => "",
            };
            let row: String = row.iter().collect();
            text += &format!("{label:>width$} |{}\n", row.trim_end());
        }
        text += &format!("{:width$} +{}\n", "", "-".repeat(columns));
        let middle = format!("{:.0e}", 10f64.powf((start + end) / 2.0));
        let (left, right) = (format!("{:.0e}", first.0), format!("{:.0e}", last.0));
        let (before, after) = (columns / 2, columns - columns / 2);
        text + &format!(
            "{:width$}  {left:<before$}{middle}{right:>after$}\n",
            "",
            after = after - middle.len().min(after)
        )
    }

    /// The mean of the values in each column that has some.
    fn means(&self, columns: usize, column: impl Fn(f64) -> usize) -> Vec<(usize, f64)> {
        let mut sums = vec![(0.0, 0usize); columns];
        for &(position, value) in self.points {
            let sum = &mut sums[column(position)];
            *sum = (sum.0 + value, sum.1 + 1);
        }
        let filled = sums.into_iter().enumerate().filter(|(_, (_, count))| *count > 0);
        filled.map(|(at, (sum, count))| (at, sum / count as f64)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_falls_from_the_upper_left_and_leaves_the_top() {
        let points = [(1e-3, 2.0), (1e-2, 1.5), (1e-1, 1.0), (1.0, 9.0)];
        let chart = Chart { points: &points, top: 2.0, mark: Some(1e-1), size: (16, 3) };
        let expected = "\
2.000 |*         |    ^
      |     *    |
1.000 |          *
      +----------------
       1e-3    3e-2 1e0
";
        assert_eq!(chart.to_text(), expected);
    }

    #[test]
    fn one_point_or_a_constant_is_no_trouble() {
        let chart = |points| Chart { points, top: 1.0, mark: None, size: (8, 2) }.to_text();
        assert_eq!(chart(&[]), "");
        assert_eq!(chart(&[(1.0, 2.0)]), "");
        assert!(chart(&[(1.0, 2.0), (10.0, 2.0)]).contains('*'));
    }
}
