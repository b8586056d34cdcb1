//! Which addresses may be connected to. What is not known to be public is private, and so is the gateway's own machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::exchange::Failure;
use super::own::is_own;

/// IPv4 networks that are not the Internet (RFC 6890 and what came after).
const NOT_PUBLIC_V4: [(Ipv4Addr, u8); 16] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 31, 196, 0), 24),
    (Ipv4Addr::new(192, 52, 193, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    // Multicast, reserved, broadcast.
    (Ipv4Addr::new(224, 0, 0, 0), 3),
];

/// Within 2000::/3, which is all of IPv6 that is given out: protocol assignments (Teredo, ORCHID), documentation, 6to4
/// (an IPv4 address in disguise), and documentation again.
const NOT_PUBLIC_V6: [(Ipv6Addr, u8); 4] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// Where clouds give out credentials to whoever asks. Azure's is a public address.
const METADATA: [IpAddr; 5] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

/// A network, as `10.0.0.0/8` or a single address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    network: IpAddr,
    prefix: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a network is written as 10.0.0.0/8, fd00::/8 or as a single address, with no bits beyond its length")]
pub struct InvalidCidr;

/// Whether a guest may reach `address` in a pool that allows the private networks `allowed`.
pub fn allowed(address: IpAddr, allowed: &[Cidr]) -> bool {
    let address = embedded(address);
    let mut listed = allowed.iter().filter(|network| network.contains(address));
    // Whoever names a network around loopback means this machine; any other network is not meant for it. Where the kernel
    // does not tell, the address counts as the machine's.
    let own = || !address.is_loopback() && is_own(address).unwrap_or(true);
    if METADATA.contains(&address) || own() {
        listed.any(|network| network.is_single())
    } else {
        is_public(address) || listed.next().is_some()
    }
}

/// Says so without telling the address, which the guest could not find out by itself.
pub fn refusal(host: &str) -> Failure {
    Failure::refused(format!(
        "{host} leads to an address that is the gateway's own, private to its network, or reserved; its operator can allow \
         it (allow_private in [pool.egress] of the configuration)"
    ))
}

/// The IPv4 address that an IPv6 address stands for: mapped (`::ffff:0:0/96`), or translated (NAT64, `64:ff9b::/96`,
/// which is how a machine with IPv6 alone sees the IPv4 Internet).
fn embedded(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let translated = v6.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0];
    match v6.to_ipv4_mapped() {
        Some(v4) => v4.into(),
        None if translated => Ipv4Addr::from_bits(v6.to_bits() as u32).into(),
        None => address,
    }
}

fn is_public(address: IpAddr) -> bool {
    let within = |network: IpAddr, prefix| Cidr { network, prefix }.contains(address);
    match address {
        IpAddr::V4(_) => !NOT_PUBLIC_V4.iter().any(|&(network, prefix)| within(network.into(), prefix)),
        IpAddr::V6(_) => {
            within(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0).into(), 3)
                && !NOT_PUBLIC_V6.iter().any(|&(network, prefix)| within(network.into(), prefix))
        }
    }
}

impl Cidr {
    pub(super) fn contains(self, address: IpAddr) -> bool {
        match (self.network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                (network.to_bits() ^ address.to_bits()).checked_shr(32 - u32::from(self.prefix)).unwrap_or(0) == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                (network.to_bits() ^ address.to_bits()).checked_shr(128 - u32::from(self.prefix)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }

    /// Whether it is one address.
    pub(super) fn is_single(self) -> bool {
        self.prefix == width(self.network)
    }

    pub(super) fn is_ipv6(self) -> bool {
        self.network.is_ipv6()
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

impl FromStr for Cidr {
    type Err = InvalidCidr;

    fn from_str(text: &str) -> Result<Self, InvalidCidr> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let network: IpAddr = address.parse().map_err(|_| InvalidCidr)?;
        let prefix = prefix.map_or(Ok(width(network)), str::parse).map_err(|_| InvalidCidr)?;
        let host_bits = match network {
            IpAddr::V4(v4) => v4.to_bits().checked_shl(prefix.into()).unwrap_or(0) != 0,
            IpAddr::V6(v6) => v6.to_bits().checked_shl(prefix.into()).unwrap_or(0) != 0,
        };
        if prefix > width(network) || host_bits { Err(InvalidCidr) } else { Ok(Self { network, prefix }) }
    }
}

impl TryFrom<String> for Cidr {
    type Error = InvalidCidr;

    fn try_from(text: String) -> Result<Self, InvalidCidr> {
        text.parse()
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> Self {
        format!("{}/{}", cidr.network, cidr.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(address: &str, networks: &[&str]) -> bool {
        let networks: Vec<Cidr> = networks.iter().map(|network| network.parse().unwrap()).collect();
        allowed(address.parse().unwrap(), &networks)
    }

    #[test]
    fn public_addresses_are_open() {
        for address in [
            "1.1.1.1",
            "93.184.215.14",
            "172.32.0.1",
            "100.128.0.1",
            "2606:4700::1111",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
        ] {
            assert!(open(address, &[]), "{address}");
        }
    }

    #[test]
    fn everything_else_is_not() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.255.255",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.168.1.1",
            "192.88.99.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:101:101::",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!open(address, &[]), "{address}");
        }
    }

    #[test]
    fn a_pool_may_allow_its_own_networks_but_metadata_only_by_address() {
        assert!(open("10.1.2.3", &["10.1.0.0/16"]));
        assert!(open("::ffff:10.1.2.3", &["10.1.0.0/16"]));
        assert!(!open("10.2.0.1", &["10.1.0.0/16"]));
        assert!(open("127.0.0.1", &["127.0.0.1"]));
        assert!(open("fd12::5", &["fd00::/8"]));
        for wide in ["169.254.0.0/16", "0.0.0.0/0"] {
            assert!(!open("169.254.169.254", &[wide]));
        }
        assert!(open("169.254.169.254", &["169.254.169.254/32"]));
        assert!(open("192.168.0.1", &["0.0.0.0/0"]) && open("::1", &["::/0"]) && !open("::1", &["0.0.0.0/0"]));
    }

    #[test]
    fn a_network_has_no_bits_beyond_its_length() {
        for text in
            ["", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0/8", "fd00::1/8", "::/129", "x/8", "10.0.0.0/"]
        {
            assert!(text.parse::<Cidr>().is_err(), "{text}");
        }
        assert_eq!(String::from("10.0.0.0/8".parse::<Cidr>().unwrap()), "10.0.0.0/8");
    }
}
