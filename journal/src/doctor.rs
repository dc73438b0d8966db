//! What a directory's disk can do, measured where the journal would lie. May be run beside a journal that is in use.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::Error;
use crate::disk::{Disk, append_all};

/// How many writes are made durable one by one, and how large each is.
const FSYNCS: usize = 64;
const FSYNC_BYTES: usize = 8 << 10;
/// Written in one go.
const BULK_BYTES: usize = 32 << 20;
const PIECE_BYTES: usize = 1 << 20;

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// A write of 8 kB made durable: half of them took no longer.
    pub fsync_p50: Duration,
    /// 99 of 100 took no longer.
    pub fsync_p99: Duration,
    /// The longest of 64.
    pub fsync_max: Duration,
    /// 32 MiB written and made durable.
    pub write_bytes_per_sec: u64,
    /// Room.
    pub free_bytes: u64,
}

/// Measures, in a second or so on a fair disk, and leaves nothing behind.
///
/// # Errors
/// If the disk fails, or hasn't 64 MiB to spare.
pub fn doctor(disk: &dyn Disk, dir: &Path) -> Result<Report, Error> {
    disk.create_dir(dir).map_err(Error::io("create", dir))?;
    let free_bytes = disk.free_space(dir).map_err(Error::io("ask for the free space of", dir))?;
    if free_bytes < 2 * BULK_BYTES as u64 {
        return Err(Error::Asked(format!(
            "{} has {free_bytes} bytes free: 64 MiB are needed to measure anything",
            dir.display()
        )));
    }
    let path = dir.join("doctor.probe");
    let measured = measure(disk, &path);
    let removed = disk.remove(&path).map_err(Error::io("remove", &path));
    let (mut fsyncs, bulk) = measured?;
    removed?;
    fsyncs.sort_unstable();
    let quantile = |share: usize| fsyncs[(fsyncs.len() * share / 100).min(fsyncs.len() - 1)];
    Ok(Report {
        fsync_p50: quantile(50),
        fsync_p99: quantile(99),
        fsync_max: quantile(100),
        write_bytes_per_sec: (BULK_BYTES as f64 / bulk.as_secs_f64().max(1e-9)) as u64,
        free_bytes,
    })
}

fn measure(disk: &dyn Disk, path: &Path) -> Result<([Duration; FSYNCS], Duration), Error> {
    let mut file = disk.create(path).map_err(Error::io("create", path))?;
    let piece = vec![0x5a; PIECE_BYTES];
    let mut fsyncs = [Duration::ZERO; FSYNCS];
    for took in &mut fsyncs {
        let begun = Instant::now();
        append_all(&mut *file, &piece[..FSYNC_BYTES]).and_then(|()| file.fsync()).map_err(Error::io("write to", path))?;
        *took = begun.elapsed();
    }
    let begun = Instant::now();
    for _ in 0..BULK_BYTES / PIECE_BYTES {
        append_all(&mut *file, &piece).map_err(Error::io("write to", path))?;
    }
    file.fsync().map_err(Error::io("write to", path))?;
    Ok((fsyncs, begun.elapsed()))
}
