//! Which addresses are not public, and what they are. After the IANA registries of special-purpose addresses (RFC 6890 and
//! its successors), plus one public address that is a cloud's own.
//!
//! IPv6 is denied as a whole except for global unicast, `2000::/3`; the table only names what is denied, and what is denied inside of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const V4: [([u8; 4], u8, &str); 16] = [
    ([0, 0, 0, 0], 8, "this network"),
    ([10, 0, 0, 0], 8, "private"),
    ([100, 64, 0, 0], 10, "a provider's shared addresses"),
    ([127, 0, 0, 0], 8, "loopback"),
    ([168, 63, 129, 16], 32, "a cloud's platform service"),
    ([169, 254, 0, 0], 16, "link-local, cloud metadata"),
    ([172, 16, 0, 0], 12, "private"),
    ([192, 0, 0, 0], 24, "protocol assignments"),
    ([192, 0, 2, 0], 24, "documentation"),
    ([192, 88, 99, 0], 24, "6to4 relays"),
    ([192, 168, 0, 0], 16, "private"),
    ([198, 18, 0, 0], 15, "benchmarks"),
    ([198, 51, 100, 0], 24, "documentation"),
    ([203, 0, 113, 0], 24, "documentation"),
    ([224, 0, 0, 0], 4, "multicast"),
    ([240, 0, 0, 0], 4, "reserved, broadcast"),
];

const V6: [(u128, u8, &str); 16] = [
    (0, 128, "unspecified"),
    (1, 128, "loopback"),
    (0, 96, "IPv4-compatible"),
    (0x0064_ff9b << 96, 96, "IPv4 by translation"),
    (0x0064_ff9b_0001 << 80, 48, "IPv4 by local translation"),
    (0x0100 << 112, 64, "discarded"),
    (0x2001 << 112, 32, "Teredo tunnels"),
    (0x2001 << 112, 23, "protocol assignments"),
    (0x2001_0db8 << 96, 32, "documentation"),
    (0x2002 << 112, 16, "6to4 tunnels"),
    (0x3fff << 112, 20, "documentation"),
    (0x5f00 << 112, 16, "segment routing"),
    (0xfc00 << 112, 7, "private"),
    (0xfe80 << 112, 10, "link-local"),
    (0xfec0 << 112, 10, "site-local"),
    (0xff00 << 112, 8, "multicast"),
];

/// Why an address is not public; `None`: it is. IPv4 written as IPv6 is judged as what it is.
#[must_use]
pub fn why_denied(address: IpAddr) -> Option<&'static str> {
    match address.to_canonical() {
        IpAddr::V4(address) => why_denied_v4(address),
        IpAddr::V6(address) => why_denied_v6(address),
    }
}

fn why_denied_v4(address: Ipv4Addr) -> Option<&'static str> {
    let bits = address.to_bits();
    V4.iter().find(|(net, length, _)| (bits ^ u32::from_be_bytes(*net)) >> (32 - length) == 0).map(|(.., why)| *why)
}

fn why_denied_v6(address: Ipv6Addr) -> Option<&'static str> {
    let bits = address.to_bits();
    let named = V6.iter().find(|(net, length, _)| (bits ^ net) >> (128 - length) == 0).map(|(.., why)| *why);
    named.or((bits >> 125 != 1).then_some("not global unicast"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_row_ends_where_it_should() {
        let check = |inside: &[&str], outside: &[&str]| {
            for text in inside {
                assert!(why_denied(text.parse().unwrap()).is_some(), "{text}");
            }
            for text in outside {
                assert_eq!(why_denied(text.parse().unwrap()), None, "{text}");
            }
        };
        check(&["0.0.0.0", "0.255.255.255", "10.0.0.0", "10.255.255.255"], &["1.0.0.0", "9.255.255.255", "11.0.0.0"]);
        check(
            &["100.64.0.0", "100.127.255.255", "127.0.0.0", "127.255.255.255"],
            &["100.63.255.255", "100.128.0.0", "128.0.0.0"],
        );
        check(
            &["169.254.169.254", "172.16.0.0", "172.31.255.255"],
            &["169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0"],
        );
        check(
            &["192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.0.0"],
            &["192.0.1.0", "192.0.3.0", "192.88.98.1", "192.169.0.0"],
        );
        check(&["198.18.0.0", "198.19.255.255", "198.51.100.1", "203.0.113.9"], &["198.17.255.255", "198.20.0.0", "203.0.114.0"]);
        check(
            &["224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "168.63.129.16"],
            &["223.255.255.255", "168.63.129.15"],
        );
        check(
            &["::", "::1", "::2", "::127.0.0.1", "64:ff9b::808:808", "64:ff9b:1::1", "100::1", "200::1"],
            &["2003::1", "2a00::1"],
        );
        check(
            &["2001::1", "2001:1ff:ffff::", "2001:db8::1", "2002:7f00:1::", "3fff::1", "3fff:fff::"],
            &["2001:200::1", "3fff:1000::"],
        );
        check(
            &["4000::1", "5f00::1", "fc00::1", "fdff::1", "fe80::1", "febf::1", "fec0::1", "ff02::1"],
            &["2606:4700:4700::1111"],
        );
        check(&["::ffff:127.0.0.1", "::ffff:10.0.0.1"], &["::ffff:8.8.8.8"]);
    }
}
