use super::*;
use evaluate::Score;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Modifier;
use report::{TrainPoint, ValidationPoint};

/// A run of 10 epochs of 100 steps after `epochs` of them: its loss falls from 2.5, its error to a
/// half.
fn view(epochs: u32) -> View {
    let mut view = View {
        name: "runs/2026-11-24T08-30-05Z-alexnet-64-3fa9".into(),
        setup: "alexnet-64, cpu, 2 threads".into(),
        state: "running".into(),
        seconds: 60.0 * f64::from(epochs),
        ..View::default()
    };
    for step in 1..=100 * epochs {
        let step = f64::from(step);
        let loss = 0.5 + 2.0 * (-step / 200.0).exp();
        let point = TrainPoint { step, loss, top1_error: loss / 3.0, ..TrainPoint::default() };
        view.curves.train.push(point);
    }
    for epoch in 1..=epochs {
        let (step, loss) = (100 * epoch, 0.7 + 2.0 * (-0.5 * f64::from(epoch)).exp());
        let (top1_error, top5_error) = (loss / 3.0, Some(loss / 9.0));
        let seconds = 60.0 * f64::from(epoch);
        view.curves.validation.push(ValidationPoint {
            step: f64::from(step),
            epoch: f64::from(epoch),
            loss,
            top1_error,
            top5_error,
            seconds,
        });
        let now = StepReport {
            step: u64::from(step),
            steps: 1000,
            epoch,
            epochs: 10,
            loss: 2.0,
            top1_error: 0.5,
            rate: 0.01,
            images_per_s: 1234.0,
            data_wait: 0.02,
            eta_s: 600.0 - seconds,
        };
        let validation = ValidationReport {
            step: now.step,
            epoch,
            epochs: 10,
            score: Score { loss, top1_error, top5_error, images: 100 },
            train_loss: 2.0,
            train_top1_error: 0.5,
            is_best: epoch == epochs,
            seconds,
        };
        view.validations.push((validation, Some(now)));
        view.step = Some(now);
    }
    view
}

/// The screen's lines.
fn drawn(view: &View, (columns, rows): (u16, u16), scroll: &mut usize) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    terminal.draw(|frame| draw::draw(frame, view, scroll)).unwrap();
    let buffer = terminal.backend().buffer();
    let line = |row| -> String { (0..columns).map(|at| buffer[(at, row)].symbol()).collect() };
    (0..rows).map(|row| line(row).trim_end().to_string()).collect()
}

#[test]
fn every_part_fits_screens_of_60_to_120_columns() {
    for columns in [60, 80, 100, 120] {
        let lines = drawn(&view(6), (columns, 30), &mut 0);
        let text = lines.join("\n");
        assert!(lines[0].starts_with("runs/2026") && lines[0].ends_with(" running"), "{text}");
        assert!(lines[1].starts_with("epoch 6/10 [") && lines[1].ends_with("4 min 00 s left"));
        assert!(lines[2].starts_with("best 26.65 % in epoch 6  6 min 00 s  alexnet-64, cpu"));
        assert!(lines[3].contains("loss: ─ train • val") && lines[3].contains("error:"), "{text}");
        assert_eq!(lines[3].chars().count(), usize::from(columns), "{text}");
        let header = lines.iter().position(|line| line.contains("val err")).unwrap();
        assert!(header > 12, "curves have at least as many rows as the table: {text}");
        let epochs: Vec<&str> = lines[header + 1..29].iter().map(|line| line.trim()).collect();
        assert_eq!(epochs.len(), 6, "{text}");
        assert!(epochs[0].starts_with("1/10") && epochs[5].starts_with("6/10"), "{text}");
        assert!(epochs[5].ends_with('*') && !epochs[4].ends_with('*'), "{text}");
        assert!(lines[29].starts_with("q: leave"), "{text}");
        let dots = lines[4..header].join("");
        assert!(dots.contains('•') && dots.contains(|c| ('\u{2801}'..='\u{28ff}').contains(&c)));
    }
}

#[test]
fn a_loss_that_falls_is_drawn_from_the_upper_left_to_the_lower_right() {
    let lines = drawn(&view(6), (100, 30), &mut 0);
    let is_dot = |c: char| ('\u{2801}'..='\u{28ff}').contains(&c);
    let dots = |row: &String| row.chars().take(50).collect::<String>().find(is_dot);
    let rows: Vec<&String> = lines[4..20].iter().filter(|row| dots(row).is_some()).collect();
    assert!(dots(rows[0]) < dots(rows[rows.len() - 1]), "{}", lines.join("\n"));
    assert!(lines[4].contains("│2.47│") && lines[4].contains("│82 %"), "{}", lines.join("\n"));
}

#[test]
fn the_table_scrolls_and_its_end_is_shown_first() {
    let epochs = |lines: &[String]| -> Vec<String> {
        let rows = lines.iter().skip_while(|line| !line.contains("val err")).skip(1);
        let words = rows.filter_map(|line| line.split_whitespace().next());
        words.filter(|word| word.ends_with("/10")).map(str::to_string).collect()
    };
    let (view, size) = (view(10), (80, 16));
    let mut scroll = 0;
    assert_eq!(epochs(&drawn(&view, size, &mut scroll)), ["6/10", "7/10", "8/10", "9/10", "10/10"]);
    scroll = 2;
    assert_eq!(epochs(&drawn(&view, size, &mut scroll))[4], "8/10");
    scroll = usize::MAX;
    assert_eq!(epochs(&drawn(&view, size, &mut scroll))[0], "1/10");
    assert_eq!(scroll, 5, "it stops at the first row");
}

#[test]
fn the_best_row_is_bold_and_the_state_has_its_colour() {
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
    let mut failed = view(3);
    (failed.has_ended, failed.has_failed, failed.state) = (true, true, "failed".into());
    terminal.draw(|frame| draw::draw(frame, &failed, &mut 0)).unwrap();
    let buffer = terminal.backend().buffer();
    assert_eq!(buffer[(79, 0)].fg, ratatui::style::Color::Red);
    let is_bold = |row| buffer[(4, row)].modifier.contains(Modifier::BOLD);
    assert_eq!([20, 21, 22].map(is_bold), [false, false, true]);
}

#[test]
fn nothing_measured_and_tiny_screens_are_no_trouble() {
    let text = drawn(&View { state: "running".into(), ..View::default() }, (80, 24), &mut 0);
    assert!(text[1].starts_with("no step yet"), "{text:?}");
    assert!(text.iter().any(|line| line.starts_with("no validation yet")), "{text:?}");
    let mut strange = view(2);
    strange.curves.train[3].loss = f64::NAN;
    strange.curves.train[4].loss = f64::INFINITY;
    strange.name = "a\u{1b}[2Jb\nc".into();
    strange.warning = Some("the loss is at chance level\u{7}".into());
    for size in [(1, 1), (3, 2), (10, 5), (20, 8), (300, 100)] {
        drawn(&strange, size, &mut 7);
    }
    let lines = drawn(&strange, (80, 24), &mut 0);
    assert!(lines[0].starts_with("a\\u001b[2Jb\\u000ac "), "{lines:?}");
    assert!(lines[21].starts_with("WARNING: the loss is at chance level\\u0007"), "{lines:?}");
}

#[test]
fn text_has_the_table_and_the_progress() {
    let mut view = view(2);
    let text = view.to_text(80);
    assert!(text.starts_with("runs/2026-11-24T08-30-05Z-alexnet-64-3fa9: running\nbest 47.86 %"));
    assert!(text.contains("val err") && text.contains("   2/10"), "{text}");
    assert!(text.ends_with("8 min 00 s left\n"), "{text}");
    (view.has_ended, view.warning) = (true, Some("stuck".into()));
    let text = view.to_text(80);
    assert!(!text.contains("left") && text.ends_with("WARNING: stuck\n"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn keys() {
    let key = |code, modifiers| Key::of(KeyEvent::new(code, modifiers));
    let none = KeyModifiers::NONE;
    assert_eq!(key(KeyCode::Char('q'), none), Some(Key::Leave));
    assert_eq!(key(KeyCode::Esc, none), Some(Key::Leave));
    assert_eq!(key(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Key::Interrupt));
    assert_eq!(key(KeyCode::Char('c'), none), None);
    assert_eq!(key(KeyCode::Up, none), Some(Key::Scroll(1)));
}
