//! k-means++ on flat rows: where a fit's starts come from.

use rand::RngExt;
use rand_xoshiro::Xoshiro256PlusPlus;

/// Rows beyond this are sampled for the centres (all rows are assigned at the end).
const ROWS_MAX: usize = 1_000;
/// A start needn't be a finished clustering: EM goes on from it.
const ROUNDS_MAX: usize = 10;

/// The nearest of `clusters` centres for each row of width `dims`.
pub(crate) fn kmeans(rows: &[f64], dims: usize, clusters: usize, rng: &mut Xoshiro256PlusPlus) -> Vec<usize> {
    let count = rows.len() / dims;
    let row = |n: usize| &rows[n * dims..(n + 1) * dims];
    let sampled: Vec<usize> =
        if count > ROWS_MAX { (0..ROWS_MAX).map(|_| rng.random_range(0..count)).collect() } else { (0..count).collect() };
    let mut centres = seed(&sampled, &row, clusters, rng);
    let mut assigned = vec![usize::MAX; sampled.len()];
    for _ in 0..ROUNDS_MAX {
        let mut changed = false;
        for (slot, &n) in assigned.iter_mut().zip(&sampled) {
            let near = nearest(&centres, dims, row(n)).0;
            changed |= std::mem::replace(slot, near) != near;
        }
        if !changed {
            break;
        }
        recentre(&mut centres, dims, &sampled, &assigned, &row);
    }
    (0..count).map(|n| nearest(&centres, dims, row(n)).0).collect()
}

/// k-means++: each centre is a row drawn with probability proportional to its squared distance from those before.
fn seed<'r>(sampled: &[usize], row: &impl Fn(usize) -> &'r [f64], clusters: usize, rng: &mut Xoshiro256PlusPlus) -> Vec<f64> {
    let mut centres = row(sampled[rng.random_range(0..sampled.len())]).to_vec();
    let dims = centres.len();
    let mut distance: Vec<f64> = sampled.iter().map(|&n| nearest(&centres, dims, row(n)).1).collect();
    while centres.len() < clusters * dims {
        let total: f64 = distance.iter().sum();
        let mut target = rng.random::<f64>() * total;
        let mut chosen = sampled[rng.random_range(0..sampled.len())];
        for (&n, d) in sampled.iter().zip(&distance) {
            target -= d;
            if target < 0.0 {
                chosen = n;
                break;
            }
        }
        let fresh = row(chosen).to_vec();
        for (slot, &n) in distance.iter_mut().zip(sampled) {
            *slot = slot.min(squared(&fresh, row(n)));
        }
        centres.extend(fresh);
    }
    centres
}

fn recentre<'r>(centres: &mut [f64], dims: usize, sampled: &[usize], assigned: &[usize], row: &impl Fn(usize) -> &'r [f64]) {
    let mut sums = vec![0.0; centres.len()];
    let mut counts = vec![0usize; centres.len() / dims];
    for (&cluster, &n) in assigned.iter().zip(sampled) {
        counts[cluster] += 1;
        sums[cluster * dims..(cluster + 1) * dims].iter_mut().zip(row(n)).for_each(|(s, x)| *s += x);
    }
    // An empty cluster keeps its centre.
    for (cluster, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let at = cluster * dims..(cluster + 1) * dims;
        centres[at.clone()].iter_mut().zip(&sums[at]).for_each(|(c, s)| *c = s / count as f64);
    }
}

fn nearest(centres: &[f64], dims: usize, row: &[f64]) -> (usize, f64) {
    let mut best = (0, f64::INFINITY);
    for cluster in 0..centres.len() / dims {
        let distance = squared(&centres[cluster * dims..(cluster + 1) * dims], row);
        if distance < best.1 {
            best = (cluster, distance);
        }
    }
    best
}

fn squared(a: &[f64], b: &[f64]) -> f64 {
    let b = &b[..a.len()];
    let mut sum = 0.0;
    // A plain loop: this is where the time of a start goes.
    for i in 0..a.len() {
        sum += (a[i] - b[i]) * (a[i] - b[i]);
    }
    sum
}
