//! The file of hosts: one `host:port` a line, the first process first. `#` begins a comment.

use std::path::{Path, PathBuf};

/// More processes than this are a mistake: each is connected with each.
pub const PROCESSES_MAX: usize = 64;

/// Which processes there are, and which of them this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// This process, from 0.
    pub process: usize,
    /// Where each listens, `host:port`.
    pub addresses: Vec<String>,
}

/// The file of hosts, or the number of this process, can't be used.
#[derive(Debug, thiserror::Error)]
pub enum HostsError {
    /// It can't be read.
    #[error("read the hosts in {path}: {source}; give a file with one host:port a line", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A line of it is wrong.
    #[error("{path}:{line}: {what}", path = path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong, and what to do.
        what: String,
    },
    /// It names nobody, or too many.
    #[error("{path}: {count} hosts are named; name 1 to {PROCESSES_MAX}, one host:port a line", path = path.display())]
    Count {
        /// The file.
        path: PathBuf,
        /// So many.
        count: usize,
    },
    /// There is no such process.
    #[error("--process {process}: {path} names {count} hosts; give a number from 0 to {last}", path = path.display(), last = count - 1)]
    NoSuchProcess {
        /// The file.
        path: PathBuf,
        /// As given.
        process: usize,
        /// Hosts that are named.
        count: usize,
    },
}

impl Cluster {
    /// Reads the file.
    ///
    /// # Errors
    /// [`HostsError`], with the number of the line.
    pub fn read(path: &Path, process: usize) -> Result<Self, HostsError> {
        let text = std::fs::read_to_string(path).map_err(|source| HostsError::Read { path: path.to_owned(), source })?;
        Self::parse(&text, path, process)
    }

    fn parse(text: &str, path: &Path, process: usize) -> Result<Self, HostsError> {
        let mut seen: Vec<(usize, &str)> = Vec::new();
        for (line, text) in (1..).zip(text.lines()) {
            let address = text.split('#').next().unwrap_or_default().trim();
            if address.is_empty() {
                continue;
            }
            let wrong = |what: String| HostsError::Line { path: path.to_owned(), line, what };
            let port =
                address.rsplit_once(':').filter(|(host, _)| !host.is_empty()).and_then(|(_, port)| port.parse::<u16>().ok());
            if address.contains(char::is_whitespace) || port.is_none_or(|port| port == 0) {
                return Err(wrong(format!("{address:?} is no address; write host:port, as in 10.0.0.5:7600")));
            }
            if let Some((before, _)) = seen.iter().find(|(_, other)| *other == address) {
                return Err(wrong(format!("{address} is in line {before} already; each process has an address of its own")));
            }
            seen.push((line, address));
        }
        let (path, count) = (path.to_owned(), seen.len());
        if count == 0 || count > PROCESSES_MAX {
            return Err(HostsError::Count { path, count });
        }
        if process >= count {
            return Err(HostsError::NoSuchProcess { path, process, count });
        }
        Ok(Self { process, addresses: seen.into_iter().map(|(_, address)| address.to_owned()).collect() })
    }

    /// How many there are.
    #[must_use]
    pub fn processes(&self) -> usize {
        self.addresses.len()
    }

    /// What this process has of things with weights: each goes, the heaviest first, to the process that has least so far. Equal ones are dealt
    /// like cards.
    pub fn share<T>(&self, all: impl IntoIterator<Item = (T, u64)>) -> Vec<T> {
        let mut all: Vec<_> = all.into_iter().collect();
        all.sort_by_key(|(_, weight)| std::cmp::Reverse(*weight)); // stable: all processes come to the same
        let mut loads = vec![0u64; self.processes()];
        let mut mine = Vec::new();
        for (one, weight) in all {
            let Some(least) = (0..loads.len()).min_by_key(|process| loads[*process]) else { break };
            loads[least] = loads[least].saturating_add(weight);
            if least == self.process {
                mine.push(one);
            }
        }
        mine
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn check(text: &str, process: usize, want: &str) {
        let got = match Cluster::parse(text, Path::new("hosts"), process) {
            Ok(cluster) => cluster.addresses.join(" "),
            Err(error) => error.to_string(),
        };
        assert_eq!(got, want, "{text:?}");
    }

    #[test]
    fn hosts_are_lines() {
        check("# all\na:1\n\n  b:2  # the second\n[::1]:3\n", 2, "a:1 b:2 [::1]:3");
        check("a:1\nb\n", 0, "hosts:2: \"b\" is no address; write host:port, as in 10.0.0.5:7600");
        check("a:1\nb:0\n", 0, "hosts:2: \"b:0\" is no address; write host:port, as in 10.0.0.5:7600");
        check("a:1\n#\na:1\n", 0, "hosts:3: a:1 is in line 1 already; each process has an address of its own");
        check("a:1\nb:2\n", 2, "--process 2: hosts names 2 hosts; give a number from 0 to 1");
        check("# nobody\n", 0, "hosts: 0 hosts are named; name 1 to 64, one host:port a line");
    }

    #[test]
    fn what_is_dealt_weighs_about_the_same() {
        let cluster = Cluster { process: 1, addresses: vec!["a:1".into(), "b:1".into()] };
        assert_eq!(cluster.share(["BTC", "ETH", "SOL", "XRP"].map(|one| (one, 1))), ["ETH", "XRP"]);
        assert_eq!(cluster.share([("BTC", 4), ("ETH", 3), ("SOL", 1), ("XRP", 1), ("ADA", 1)]), ["ETH", "SOL", "ADA"]);
        assert_eq!(cluster.share([("ADA", 1), ("BTC", 9), ("SOL", 1)]), ["ADA", "SOL"]);
    }
}
