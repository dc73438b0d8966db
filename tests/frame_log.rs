//! The frame log: every line is a frame or a defect, whatever happened to the file.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use dataflows::model::Venue;
use regimeflow::frames::{BatchLimits, Direction, FrameBatch, FrameLogReader, FrameLogWriter};

const SMALL: BatchLimits = BatchLimits { bytes: 64, frames: 3 };

/// All payloads and all defects, and the number of lines.
fn read(paths: &[PathBuf], limits: BatchLimits) -> (Vec<String>, Vec<(u64, &'static str)>, u64) {
    let mut reader = FrameLogReader::open(paths, limits).unwrap();
    let (mut batch, mut payloads, mut defects) = (FrameBatch::default(), Vec::new(), Vec::new());
    while reader.next_batch(&mut batch).unwrap() {
        assert!(batch.frames.len() + batch.defects.len() <= limits.frames);
        payloads.extend(batch.frames.iter().map(|f| String::from_utf8_lossy(batch.payload(f)).into_owned()));
        defects.extend(batch.defects.iter().map(|d| (d.line, d.reason)));
    }
    assert_eq!(reader.lines_read(), (payloads.len() + defects.len()) as u64, "every line is a frame or a defect");
    assert_eq!(reader.compressed_bytes_read(), reader.compressed_bytes_total());
    (payloads, defects, reader.lines_read())
}

/// Writes a log and reads it back with small and large batches, plain and compressed.
fn check(log: &[u8], payloads: &[&str], defects: &[(u64, &'static str)]) {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in [("plain", log.to_vec()), ("packed", zstd::encode_all(log, 3).unwrap())] {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        for limits in [SMALL, BatchLimits::default()] {
            let (got, got_defects, _) = read(std::slice::from_ref(&path), limits);
            assert_eq!((&got[..], &got_defects[..]), (&payloads.iter().map(|&p| p.to_owned()).collect::<Vec<_>>()[..], defects));
        }
    }
}

fn line(recv_ns: i64, payload: &str) -> String {
    format!("{recv_ns}\tbinance-usdm\tc1\tin\t{payload}\n")
}

#[test]
fn lines_become_frames_or_defects() {
    check(b"", &[], &[]);
    check(line(1, "{}").as_bytes(), &["{}"], &[]);
    check(b"\n\nx\n", &[], &[(1, "missing fields"), (2, "missing fields"), (3, "missing fields")]);
    let log = format!("{}nonsense\n{}9\tmtgox\tc\tin\t{{}}\n{}", line(1, "a"), line(2, "b"), line(3, "c"));
    check(log.as_bytes(), &["a", "b", "c"], &[(2, "missing fields"), (4, "unknown venue")]);
}

#[test]
fn a_torn_last_line_is_a_defect_and_a_whole_one_a_frame() {
    let log = line(1, r#"{"a":1}"#) + &line(2, r#"{"b":[2]}"#);
    for cut in line(1, r#"{"a":1}"#).len() + 1..log.len() - 1 {
        check(&log.as_bytes()[..cut], &[r#"{"a":1}"#], &[(2, "torn last line")]);
    }
    check(&log.as_bytes()[..log.len() - 1], &[r#"{"a":1}"#, r#"{"b":[2]}"#], &[]);
}

#[test]
fn a_frame_over_one_mebibyte_is_passed_over() {
    let long = "x".repeat(3 << 20);
    let log =
        line(1, "a") + &line(2, &long) + &line(3, "b") + &line(4, &"y".repeat((1 << 20) + 1)) + &line(5, &"z".repeat(1 << 20));
    check(log.as_bytes(), &["a", "b", &"z".repeat(1 << 20)], &[(2, "frame over 1 MiB"), (4, "frame over 1 MiB")]);
    check((line(1, "a") + &line(2, &long)).trim_end().as_bytes(), &["a"], &[(2, "frame over 1 MiB")]);
}

#[test]
fn a_truncated_stream_gives_what_came_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut writer = FrameLogWriter::create(&path).unwrap();
    for i in 0..1000 {
        writer.append(i, Venue::BybitLinear, "c1", Direction::In, format!("{{\"i\":{}}}", i * 7919 % 1009).as_bytes()).unwrap();
        if i == 499 {
            writer.flush().unwrap();
            assert_eq!(
                read(std::slice::from_ref(&path), SMALL).0.len(),
                500,
                "what was flushed is readable while it is being written"
            );
        }
    }
    writer.finish().unwrap();
    let whole = fs::read(&path).unwrap();
    assert_eq!(read(std::slice::from_ref(&path), SMALL).0.len(), 1000);
    let mut before = 0;
    for cut in (20..whole.len()).step_by(37) {
        fs::write(&path, &whole[..cut]).unwrap();
        let (payloads, defects, _) = read(std::slice::from_ref(&path), BatchLimits::default());
        assert!(payloads.len() >= before, "a longer file never gives less");
        assert_eq!(defects.last().unwrap().1, "truncated zstd stream");
        before = payloads.len();
    }
    let mut corrupt = whole;
    let middle = corrupt.len() / 2;
    corrupt.truncate(middle);
    corrupt.extend([0xff; 64]);
    fs::write(&path, corrupt).unwrap();
    let (_, defects, _) = read(std::slice::from_ref(&path), BatchLimits::default());
    assert!(defects.last().unwrap().1.ends_with("zstd stream"), "{defects:?}");
}

#[test]
fn several_files_are_merged_by_time_and_equal_times_by_file() {
    let folder = tempfile::tempdir().unwrap();
    let files = [
        [line(1, "a1"), line(4, "a4"), line(4, "a4 again"), line(9, "a9")].concat(),
        ["broken\n".to_owned(), line(2, "b2"), line(4, "b4")].concat(),
        String::new(),
        line(3, "d3"),
    ];
    let paths: Vec<PathBuf> = files
        .iter()
        .enumerate()
        .map(|(i, text)| {
            let path = folder.path().join(i.to_string());
            fs::write(&path, zstd::encode_all(text.as_bytes(), 1).unwrap()).unwrap();
            path
        })
        .collect();
    for limits in [SMALL, BatchLimits::default()] {
        let (payloads, defects, lines) = read(&paths, limits);
        assert_eq!(payloads, ["a1", "b2", "d3", "a4", "a4 again", "b4", "a9"]);
        assert_eq!((defects, lines), (vec![(1, "missing fields")], 8));
    }
}

#[test]
fn what_is_written_is_read_back() {
    let mut writer = FrameLogWriter::new(Vec::new()).unwrap();
    writer.append(7, Venue::OkxSwap, "c 1", Direction::Http, b"https://x {\"a\":\n1}").unwrap();
    assert!(writer.append(8, Venue::OkxSwap, "c\t1", Direction::In, b"{}").is_err());
    assert!(writer.append(8, Venue::OkxSwap, "c\n1", Direction::In, b"{}").is_err());
    assert!(writer.append(8, Venue::OkxSwap, "c", Direction::In, &vec![b' '; (1 << 20) + 1]).is_err());
    assert_eq!(writer.lines(), 1);
    let bytes = writer.finish().unwrap();
    assert_eq!(zstd::decode_all(&bytes[..]).unwrap(), b"7\tokx-swap\tc 1\thttp\thttps://x {\"a\": 1}\n");
}

#[test]
fn what_cannot_be_opened_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = |path: &Path| FrameLogReader::open(&[path.to_owned()], SMALL).err().unwrap().to_string();
    let missing = folder.path().join("absent.frames.zst");
    assert!(error(&missing).contains("absent.frames.zst") && error(&missing).contains("check the path"));
    assert!(error(folder.path()).contains("name a file"));
    fs::write(&missing, "").unwrap();
    let taken = FrameLogWriter::create(&missing).err().unwrap().to_string();
    assert!(taken.contains("never overwritten"), "{taken}");
}
