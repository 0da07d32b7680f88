use super::*;

/// Recorded by fixtures/operations.py with torchvision 0.29.2: `CutMix.make_params`.
#[test]
fn cuts_are_torchvisions() {
    let recorded = include_str!("../../fixtures/mixing.txt");
    let mut count = 0;
    for line in recorded.lines().filter(|line| !line.starts_with('#')) {
        let numbers: Vec<f64> = line.split(' ').map(|word| word.parse().unwrap()).collect();
        let at = |k: usize| numbers[k] as usize;
        let mix = Mix::cut(numbers[2], [at(3), at(4)], (at(0), at(1)));
        let Rectangle { top, left, height, width } = mix.cut;
        assert_eq!([left, top, left + width, top + height], [at(5), at(6), at(7), at(8)], "{line}");
        assert_eq!((mix.label, mix.weight), (numbers[9], 1.0), "{line}");
        count += 1;
    }
    assert_eq!(count, 21);
}

/// Mean and variance of Beta(a, a): 1/2 and 1 / (4 (2a + 1)).
#[test]
fn lambda_is_beta_distributed() {
    for alpha in [0.01, 0.2, 1.0, 3.5, 200.0] {
        let n = 20_000;
        let mixing = Mixing { mixup: Some(alpha), cutmix: None };
        let (mut sum, mut squares, mut low) = (0.0, 0.0, 0);
        for batch in 0..n {
            let mix = mixing.draw(5, 0, batch, (8, 8)).unwrap();
            assert!((0.0..=1.0).contains(&mix.weight) && mix.label == mix.weight);
            sum += mix.weight - 0.5;
            squares += (mix.weight - 0.5).powi(2);
            low += u32::from(mix.weight < 0.25);
        }
        let n = f64::from(n);
        let variance = 1.0 / (4.0 * (2.0 * alpha + 1.0));
        // Five standard errors; the kurtosis is below 3.
        assert!((sum / n).abs() < 5.0 * (variance / n).sqrt(), "{alpha}: {}", sum / n);
        let close = variance * (2.0 / n).sqrt() * 5.0;
        assert!((squares / n - variance).abs() < close, "{alpha}: {}", squares / n);
        if alpha == 1.0 {
            assert!((f64::from(low) / n - 0.25).abs() < 0.0154, "uniform: {low}");
        }
    }
}

#[test]
fn one_of_both_is_drawn_for_each_batch() {
    let both = Mixing { mixup: Some(1.0), cutmix: Some(1.0) };
    let cuts = (0..2000).filter(|&batch| {
        let mix = both.draw(1, 0, batch, (20, 30)).unwrap();
        assert!(mix.cut.top + mix.cut.height <= 20 && mix.cut.left + mix.cut.width <= 30);
        mix.weight == 1.0
    });
    // Binomial standard deviation 22; five of them.
    assert!(cuts.count().abs_diff(1000) < 112);
    assert_eq!(Mixing::default().draw(1, 0, 0, (4, 4)), None);
    let draw = |seed, epoch, batch| both.draw(seed, epoch, batch, (20, 30));
    assert_eq!(draw(1, 2, 3), draw(1, 2, 3));
    for other in [draw(2, 2, 3), draw(1, 3, 3), draw(1, 2, 4)] {
        assert_ne!(draw(1, 2, 3), other);
    }
}

/// With the share of the other's label, the weights sum to one up to rounding.
#[test]
fn weights_are_rounded_as_torchvision_rounds_them() {
    let mix = Mix::blend(0.3);
    assert_eq!(mix.weights(), [0.3f64 as f32, 0.7f64 as f32]);
    assert_eq!(mix.label_weights(), mix.weights());
    let cut = Mix::cut(0.75, [10, 10], (20, 20)); // a square of 10 x 10 pixels
    assert_eq!((cut.weights(), cut.label_weights()), ([1.0, 0.0], [0.75, 0.25]));
}
