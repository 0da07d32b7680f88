//! Eigenvalues and eigenvectors of a symmetric 3 x 3 matrix by Jacobi rotations.

type Matrix = [[f64; 3]; 3];

/// Eigenvalues, largest first, and unit eigenvectors as rows. The component of largest magnitude of
/// each eigenvector is positive, which makes the sign deterministic.
pub(super) fn decompose(mut a: Matrix) -> ([f64; 3], Matrix) {
    let mut vectors: Matrix = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
    // Convergence is quadratic: ten sweeps are more than enough for f64.
    for _ in 0..10 {
        for (p, q) in [(0, 1), (0, 2), (1, 2)] {
            rotate(&mut a, &mut vectors, p, q);
        }
    }
    let mut order = [0, 1, 2];
    order.sort_by(|&i, &j| a[j][j].total_cmp(&a[i][i]));
    let vectors = order.map(|i| {
        let vector = vectors[i];
        let largest = vector.into_iter().fold(0.0f64, |a, b| if b.abs() > a.abs() { b } else { a });
        vector.map(|part| if largest < 0.0 { -part } else { part })
    });
    (order.map(|i| a[i][i]), vectors)
}

/// Rotates axes p and q so that the matrix element (p, q) becomes zero.
fn rotate(a: &mut Matrix, vectors: &mut Matrix, p: usize, q: usize) {
    if a[p][q] == 0.0 {
        return;
    }
    let theta = (a[q][q] - a[p][p]) / (2.0 * a[p][q]);
    let tangent = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
    let cos = 1.0 / (tangent * tangent + 1.0).sqrt();
    let sin = tangent * cos;
    for row in a.iter_mut() {
        (row[p], row[q]) = (cos * row[p] - sin * row[q], sin * row[p] + cos * row[q]);
    }
    let (of_p, of_q) = (a[p], a[q]);
    let (in_p, in_q) = (vectors[p], vectors[q]);
    for k in 0..3 {
        a[p][k] = cos * of_p[k] - sin * of_q[k];
        a[q][k] = sin * of_p[k] + cos * of_q[k];
        vectors[p][k] = cos * in_p[k] - sin * in_q[k];
        vectors[q][k] = sin * in_p[k] + cos * in_q[k];
    }
}
