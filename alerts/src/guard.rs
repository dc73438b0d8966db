//! The guard against requests into the own network (SSRF): where a URL of the configuration may lead, and where not.
//!
//! A receiver's URL may come from someone who should not reach what this machine reaches: other services on loopback, the
//! private network, the cloud's metadata service. So only public addresses are connected to, and what else is wanted is named
//! by CIDR in the configuration. Two gates, because neither alone is enough:
//! [`Guard::check_url`] judges the URL and an address written in it (the client never asks a resolver about those), and the
//! client's resolver ([`Guard::resolver`]) drops every answer that is not allowed. The connection is made to an answer
//! that has passed, not to the name, so that a name which changes its answer in between (rebinding) gains nothing.
//! Of a name with allowed and denied answers the allowed ones are used. The client must follow no redirect and no proxy.
//!
//! Plain http is allowed, any port but 0 is allowed: who may see or take a message is the configuration's choice, not a way in.
//! Where IPv6 reaches IPv4 only by translation (NAT64, `64:ff9b::/96`) that prefix must be allowed by name.

mod addresses;
mod resolver;

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use url::{Host, Url};

pub use addresses::why_denied;
pub use resolver::{Answers, Lookup, SystemLookup};

/// Where requests may lead. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    allowed: Arc<[IpNet]>,
}

/// Why a guard can't be made.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum GuardError {
    #[error("allow `{text}`: it is not a network; write an address and a length, such as 10.1.0.0/16 or fd00:1::/64")]
    NotCidr { text: String },
    #[error("allow `{text}`: a length of 0 allows every address; name the networks that are needed")]
    Everything { text: String },
    #[error("allow `{text}`: it is IPv4 written as IPv6; write it as IPv4")]
    Mapped { text: String },
}

/// Why a URL is refused. Names its host at most, never its path.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Refusal {
    #[error("the scheme is `{scheme}`; only http and https are posted to")]
    Scheme { scheme: String },
    #[error("there is a user name or password in the url; use a receiver that knows us by its path or by our signature")]
    Userinfo,
    #[error("there is no host in the url")]
    NoHost,
    #[error("port 0 can't be connected to")]
    PortZero,
    #[error("{address} is not a public address ({why}); if it is meant, allow its network by CIDR")]
    Address { address: IpAddr, why: &'static str },
    #[error("`{host}` is this machine; if it is meant, allow 127.0.0.0/8 and ::1/128")]
    Localhost { host: String },
}

impl Guard {
    /// Public addresses and these networks (`10.1.0.0/16`, `::1/128`; an address alone is a network of one).
    pub fn new<S: AsRef<str>>(allowed: &[S]) -> Result<Self, GuardError> {
        allowed.iter().map(|text| network(text.as_ref())).collect::<Result<Vec<_>, _>>().map(|nets| Self { allowed: nets.into() })
    }

    /// Whether a URL may be posted to, as far as it can be told without a resolver.
    pub fn check_url(&self, url: &Url) -> Result<(), Refusal> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Refusal::Scheme { scheme: url.scheme().to_owned() });
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refusal::Userinfo);
        }
        if url.port() == Some(0) {
            return Err(Refusal::PortZero);
        }
        match url.host() {
            None | Some(Host::Domain("")) => Err(Refusal::NoHost),
            Some(Host::Ipv4(address)) => self.check_address(address.into()),
            Some(Host::Ipv6(address)) => self.check_address(address.into()),
            Some(Host::Domain(host)) => self.check_name(host),
        }
    }

    /// Whether an address may be connected to.
    pub fn check_address(&self, address: IpAddr) -> Result<(), Refusal> {
        let address = address.to_canonical();
        match why_denied(address) {
            Some(why) if !self.allowed.iter().any(|net| net.contains(&address)) => Err(Refusal::Address { address, why }),
            _ => Ok(()),
        }
    }

    /// A resolver for the client: what `lookup` answers, without what is not allowed.
    #[must_use]
    pub fn resolver(&self, lookup: Arc<dyn Lookup>) -> Arc<dyn reqwest::dns::Resolve> {
        Arc::new(resolver::Guarded { guard: self.clone(), lookup })
    }

    /// `localhost` and names below it mean this machine whatever a resolver says; everything else is judged by its answers.
    fn check_name(&self, host: &str) -> Result<(), Refusal> {
        let name = host.trim_end_matches('.').to_ascii_lowercase();
        let is_local = name == "localhost" || name.ends_with(".localhost");
        let is_allowed = || {
            let loopback = [IpAddr::from([127, 0, 0, 1]), IpAddr::from(std::net::Ipv6Addr::LOCALHOST)];
            loopback.iter().any(|address| self.check_address(*address).is_ok())
        };
        if is_local && !is_allowed() { Err(Refusal::Localhost { host: host.to_owned() }) } else { Ok(()) }
    }
}

fn network(text: &str) -> Result<IpNet, GuardError> {
    let text = text.trim();
    let net = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    let Some(net) = net else { return Err(GuardError::NotCidr { text: text.to_owned() }) };
    if net.prefix_len() == 0 {
        return Err(GuardError::Everything { text: text.to_owned() });
    }
    if matches!(net, IpNet::V6(v6) if v6.addr().to_ipv4_mapped().is_some()) {
        return Err(GuardError::Mapped { text: text.to_owned() });
    }
    Ok(net.trunc())
}
