//! Small dense symmetric positive definite matrices: factor, invert the factor, eigenvalues.
//!
//! Matrices are row-major slices of n·n. Sizes are feature counts (n ≤ a few dozen), so the plain loops are right.

/// Lower factor L with `L Lᵀ = matrix`, or `None` where it is not positive definite (NaN included).
pub(crate) fn cholesky(matrix: &[f64], n: usize) -> Option<Vec<f64>> {
    let mut factor = vec![0.0; n * n];
    for i in 0..n {
        for j in 0..=i {
            let dot: f64 = (0..j).map(|k| factor[i * n + k] * factor[j * n + k]).sum();
            let rest = matrix[i * n + j] - dot;
            if i == j {
                if !(rest > 0.0 && rest.is_finite()) {
                    return None;
                }
                factor[i * n + i] = rest.sqrt();
            } else {
                factor[i * n + j] = rest / factor[j * n + j];
            }
        }
    }
    Some(factor)
}

/// Inverse of a lower factor (lower as well).
pub(crate) fn invert_lower(factor: &[f64], n: usize) -> Vec<f64> {
    let mut inverse = vec![0.0; n * n];
    for column in 0..n {
        inverse[column * n + column] = 1.0 / factor[column * n + column];
        for i in column + 1..n {
            let dot: f64 = (column..i).map(|k| factor[i * n + k] * inverse[k * n + column]).sum();
            inverse[i * n + column] = -dot / factor[i * n + i];
        }
    }
    inverse
}

/// Log determinant of `L Lᵀ`.
pub(crate) fn log_determinant(factor: &[f64], n: usize) -> f64 {
    2.0 * (0..n).map(|i| factor[i * n + i].ln()).sum::<f64>()
}

/// Inverse of the matrix whose lower factor is given.
pub(crate) fn inverse_from_factor(factor: &[f64], n: usize) -> Vec<f64> {
    let lower = invert_lower(factor, n);
    let mut inverse = vec![0.0; n * n];
    for i in 0..n {
        for j in 0..n {
            inverse[i * n + j] = (i.max(j)..n).map(|k| lower[k * n + i] * lower[k * n + j]).sum();
        }
    }
    inverse
}

/// Eigenvalues and eigenvectors (columns) of a symmetric matrix, by Jacobi rotations.
pub(crate) fn eigen(matrix: &[f64], n: usize) -> (Vec<f64>, Vec<f64>) {
    let mut a = matrix.to_vec();
    let mut vectors = vec![0.0; n * n];
    (0..n).for_each(|i| vectors[i * n + i] = 1.0);
    for _sweep in 0..60 {
        let off: f64 = (0..n).flat_map(|i| (0..i).map(move |j| (i, j))).map(|(i, j)| a[i * n + j].powi(2)).sum();
        let size: f64 = (0..n).map(|i| a[i * n + i].powi(2)).sum();
        if off <= 1e-32 * size {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                rotate(&mut a, &mut vectors, n, p, q);
            }
        }
    }
    ((0..n).map(|i| a[i * n + i]).collect(), vectors)
}

fn rotate(a: &mut [f64], vectors: &mut [f64], n: usize, p: usize, q: usize) {
    let off = a[p * n + q];
    if off == 0.0 {
        return;
    }
    let theta = (a[q * n + q] - a[p * n + p]) / (2.0 * off);
    let tangent = theta.signum() / (theta.abs() + theta.hypot(1.0));
    let cos = 1.0 / tangent.hypot(1.0);
    let sin = tangent * cos;
    for k in 0..n {
        let (kp, kq) = (a[k * n + p], a[k * n + q]);
        a[k * n + p] = cos * kp - sin * kq;
        a[k * n + q] = sin * kp + cos * kq;
    }
    for k in 0..n {
        let (pk, qk) = (a[p * n + k], a[q * n + k]);
        a[p * n + k] = cos * pk - sin * qk;
        a[q * n + k] = sin * pk + cos * qk;
        let (vp, vq) = (vectors[k * n + p], vectors[k * n + q]);
        vectors[k * n + p] = cos * vp - sin * vq;
        vectors[k * n + q] = sin * vp + cos * vq;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factor_inverse_and_eigenvalues_rebuild_the_matrix() {
        let m = [4.0, 1.0, 0.5, 1.0, 3.0, -0.2, 0.5, -0.2, 2.0];
        let factor = cholesky(&m, 3).expect("positive definite by construction");
        let inverse = inverse_from_factor(&factor, 3);
        let (values, vectors) = eigen(&m, 3);
        for i in 0..3 {
            for j in 0..3 {
                let product: f64 = (0..3).map(|k| m[i * 3 + k] * inverse[k * 3 + j]).sum();
                assert!((product - f64::from(u8::from(i == j))).abs() < 1e-14);
                let rebuilt: f64 = (0..3).map(|k| vectors[i * 3 + k] * values[k] * vectors[j * 3 + k]).sum();
                assert!((rebuilt - m[i * 3 + j]).abs() < 1e-13);
            }
        }
        assert!((log_determinant(&factor, 3) - values.iter().map(|v| v.ln()).sum::<f64>()).abs() < 1e-13);
        assert_eq!(cholesky(&[1.0, 2.0, 2.0, 1.0], 2), None);
    }
}
