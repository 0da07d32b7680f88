//! Formats counts, bytes, durations and percentages.

/// A fraction as a percentage: `38.62 %`.
pub fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

/// A duration: `3 h 05 min`, `4 min 10 s`, `12 s`.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds} s"),
        (0, _) => format!("{minutes} min {seconds:02} s"),
        _ => format!("{hours} h {minutes:02} min"),
    }
}

/// 60965224 as `60,965,224`.
pub fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (idx, digit) in digits.chars().enumerate() {
        if idx > 0 && (digits.len() - idx).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes as `1234 MiB`, with one decimal if below ten.
pub fn mebibytes(bytes: usize) -> String {
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    if mebibytes < 10.0 { format!("{mebibytes:.1} MiB") } else { format!("{mebibytes:.0} MiB") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units() {
        assert_eq!(duration(11.6), "12 s");
        assert_eq!(duration(250.0), "4 min 10 s");
        assert_eq!(duration(11_100.0), "3 h 05 min");
        assert_eq!(percent(0.38616), "38.62 %");
    }

    #[test]
    fn numbers_read_like_the_paper() {
        assert_eq!(grouped(60_965_224), "60,965,224");
        assert_eq!(grouped(999), "999");
        assert_eq!(mebibytes(1 << 20), "1.0 MiB");
    }
}
