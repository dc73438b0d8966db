//! The first eigenvalue and eigenvector of a correlation matrix, by the method of Lanczos (1950).
//!
//! It starts from the row sums each time: in a market that moves as one they are nearly the eigenvector, and a start that doesn't
//! depend on the bar before keeps the answer a function of the matrix. A little of everything is added, or two camps whose sums are equal would hide
//! the vector that tells them apart. Krylov's space holds whatever power iteration would find in as many products, so
//! ten products do where the first eigenvalue stands out, and a gap as small as that of noise takes some forty. All vectors are kept orthogonal to each other.
//! It stops when the residual is below 1e-7 of the eigenvalue, whose own error is then about its square.

/// Products of the matrix with a vector, at most.
const STEPS_MAX: usize = 80;
const RESIDUAL_MAX: f64 = 1e-7;

/// The largest eigenvalue and its vector.
#[derive(Clone, Debug, PartialEq)]
pub struct First {
    /// The eigenvalue.
    pub value: f64,
    /// The eigenvector, of length 1; the sum of its entries is not negative.
    pub vector: Vec<f64>,
    /// Products that it took.
    pub steps: usize,
}

/// Of the symmetric matrix with ones on its diagonal and `triangle` below it: (0, 1), (0, 2), (1, 2), (0, 3), … What is not a number counts as 0.
/// `None` of an empty one.
#[must_use]
pub fn first(size: usize, triangle: &[f64]) -> Option<First> {
    if size == 0 || triangle.len() != size * (size - 1) / 2 {
        return None;
    }
    let mut start = vec![0.0; size];
    multiply(triangle, &vec![1.0; size], &mut start);
    let largest = start.iter().fold(1.0, |largest: f64, x| largest.max(x.abs()));
    for (i, x) in start.iter_mut().enumerate() {
        *x += 0.05 * largest * ((i + 1) as f64 * 0.618_033_988_749_895).fract();
    }
    let mut basis = vec![normalised(start)];
    let (mut diagonal, mut beside): (Vec<f64>, Vec<f64>) = (Vec::new(), Vec::new());
    let mut next = vec![0.0; size];
    loop {
        let last = basis.len() - 1;
        multiply(triangle, &basis[last], &mut next);
        diagonal.push(dot(&next, &basis[last]));
        for _ in 0..2 {
            for vector in &basis {
                let along = dot(&next, vector);
                next.iter_mut().zip(vector).for_each(|(x, v)| *x -= along * v);
            }
        }
        let rest = dot(&next, &next).sqrt();
        let (value, weights) = ritz(&diagonal, &beside);
        let residual = rest * weights[last].abs();
        if residual <= RESIDUAL_MAX * value || basis.len() == STEPS_MAX.min(size) {
            return Some(First { value, vector: combine(&basis, &weights), steps: basis.len() });
        }
        beside.push(rest);
        basis.push(next.iter().map(|x| x / rest).collect());
    }
}

/// out = R·x, each entry of the triangle read once.
fn multiply(triangle: &[f64], x: &[f64], out: &mut [f64]) {
    out.copy_from_slice(x); // the diagonal
    let mut rest = triangle;
    for high in 1..x.len() {
        let (row, after) = rest.split_at(high);
        rest = after;
        let at = x[high];
        let mut sums = [0.0; 4];
        let (rows, values, outs) = (row.chunks_exact(4), x[..high].chunks_exact(4), out[..high].chunks_exact_mut(4));
        let tail = high - high % 4;
        for ((r, v), o) in rows.zip(values).zip(outs) {
            for lane in 0..4 {
                let r = if r[lane].is_nan() { 0.0 } else { r[lane] };
                sums[lane] += r * v[lane];
                o[lane] += r * at;
            }
        }
        for low in tail..high {
            let r = if row[low].is_nan() { 0.0 } else { row[low] };
            sums[0] += r * x[low];
            out[low] += r * at;
        }
        out[high] += (sums[0] + sums[1]) + (sums[2] + sums[3]);
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 4];
    let (quads, rest) = (a.chunks_exact(4).zip(b.chunks_exact(4)), a.len() - a.len() % 4);
    for (x, y) in quads {
        for lane in 0..4 {
            sums[lane] += x[lane] * y[lane];
        }
    }
    let tail: f64 = a[rest..].iter().zip(&b[rest..]).map(|(x, y)| x * y).sum();
    (sums[0] + sums[1]) + (sums[2] + sums[3]) + tail
}

fn normalised(mut vector: Vec<f64>) -> Vec<f64> {
    let length = dot(&vector, &vector).sqrt();
    vector.iter_mut().for_each(|x| *x /= length);
    vector
}

/// The largest eigenvalue of the tridiagonal matrix, by bisection on the number of eigenvalues above, and its vector.
fn ritz(diagonal: &[f64], beside: &[f64]) -> (f64, Vec<f64>) {
    let size = diagonal.len();
    let radius = |i: usize| beside.get(i).map_or(0.0, |b| b.abs()) + i.checked_sub(1).map_or(0.0, |i| beside[i].abs());
    let mut high = (0..size).map(|i| diagonal[i] + radius(i)).fold(f64::MIN, f64::max); // Gershgorin
    let mut low = diagonal.iter().copied().fold(f64::MIN, f64::max); // a Rayleigh quotient
    // None is above x where all pivots of T − x are negative.
    let is_above_all = |x: f64| {
        let mut pivot = diagonal[0] - x;
        pivot < 0.0
            && (1..size).all(|i| {
                pivot = diagonal[i] - x - beside[i - 1] * beside[i - 1] / pivot;
                pivot < 0.0
            })
    };
    for _ in 0..64 {
        let middle = f64::midpoint(low, high);
        if middle <= low || middle >= high {
            break;
        }
        if is_above_all(middle) { high = middle } else { low = middle }
    }
    // From the last entry backwards, where they grow: stable for the largest eigenvalue.
    let mut weights = vec![1.0; size];
    for i in (0..size - 1).rev() {
        let after = if i + 2 < size { beside[i + 1] * weights[i + 2] } else { 0.0 };
        weights[i] = ((high - diagonal[i + 1]) * weights[i + 1] - after) / beside[i];
        if weights[i].abs() > 1e100 {
            weights.iter_mut().for_each(|w| *w *= 1e-100);
        }
    }
    let length = weights.iter().map(|w| w * w).sum::<f64>().sqrt();
    weights.iter_mut().for_each(|w| *w /= length);
    (high, weights)
}

fn combine(basis: &[Vec<f64>], weights: &[f64]) -> Vec<f64> {
    let mut vector = vec![0.0; basis[0].len()];
    for (of, weight) in basis.iter().zip(weights) {
        vector.iter_mut().zip(of).for_each(|(x, b)| *x += weight * b);
    }
    if vector.iter().sum::<f64>() < 0.0 {
        vector.iter_mut().for_each(|x| *x = -*x);
    }
    vector
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Jacobi's rotations: slow, and obviously right.
    fn largest(size: usize, triangle: &[f64]) -> f64 {
        let at = |i: usize, j: usize| if i == j { 1.0 } else { triangle[super::super::products::pair(i, j)] };
        let mut m: Vec<Vec<f64>> = (0..size).map(|i| (0..size).map(|j| at(i, j)).collect()).collect();
        for _ in 0..30 {
            for p in 0..size {
                for q in p + 1..size {
                    let theta = 0.5 * f64::atan2(2.0 * m[p][q], m[q][q] - m[p][p]);
                    let (s, c) = theta.sin_cos();
                    for k in 0..size {
                        (m[k][p], m[k][q]) = (c * m[k][p] - s * m[k][q], s * m[k][p] + c * m[k][q]);
                    }
                    for k in 0..size {
                        (m[p][k], m[q][k]) = (c * m[p][k] - s * m[q][k], s * m[p][k] + c * m[q][k]);
                    }
                }
            }
        }
        (0..size).map(|i| m[i][i]).fold(f64::MIN, f64::max)
    }

    fn check(size: usize, entry: impl Fn(usize, usize) -> f64) {
        let triangle: Vec<f64> =
            (0..size).flat_map(|high| (0..high).map(move |low| (low, high))).map(|(a, b)| entry(a, b)).collect();
        let First { value, vector, .. } = first(size, &triangle).unwrap_or(First { value: 0.0, vector: vec![], steps: 0 });
        let expected = largest(size, &triangle);
        assert!((value - expected).abs() < 1e-9 * expected, "{value}, by Jacobi {expected}");
        let mut product = vec![0.0; size];
        multiply(&triangle, &vector, &mut product);
        let off: f64 = product.iter().zip(&vector).map(|(p, v)| (p - value * v).powi(2)).sum();
        assert!(off.sqrt() < 1e-6 * value, "not an eigenvector: {off}");
    }

    #[test]
    fn it_is_the_largest_eigenvalue() {
        check(1, |_, _| 0.0);
        check(2, |_, _| 0.6);
        check(2, |_, _| -0.6); // the row sums are orthogonal to the vector
        check(7, |_, _| 0.0);
        check(12, |_, _| 0.5);
        check(12, |a, b| if a / 6 == b / 6 { 0.7 } else { -0.2 }); // two camps
        check(30, |a, b| ((a * 37 + b * 101) % 19) as f64 / 19.0 - 0.4);
        check(60, |a, b| 0.9f64.powi((b - a) as i32));
    }
}
