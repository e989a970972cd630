//! Words that both firewalls' listings have: addresses, protocols, ports, marks, flags.

use std::net::Ipv4Addr;

use super::space::Span;

/// Addresses, prefixes (by length or by mask) and ranges, with commas between.
#[must_use]
pub fn addresses(list: &str) -> Option<Vec<Span>> {
    list.split(',').map(address).collect()
}

/// An address, a prefix, or a range.
fn address(text: &str) -> Option<Span> {
    if let Some((first, last)) = text.split_once('-') {
        let (first, last): (Ipv4Addr, Ipv4Addr) = (first.parse().ok()?, last.parse().ok()?);
        return (first <= last).then(|| Span::new(first.to_bits(), last.to_bits()));
    }
    let Some((address, length)) = text.split_once('/') else {
        return Some(Span::address(text.parse().ok()?));
    };
    let address = address.parse().ok()?;
    let length = match length.parse::<u8>() {
        Ok(length) => length,
        Err(_) => {
            let mask = length.parse::<Ipv4Addr>().ok()?.to_bits();
            let length = mask.leading_ones();
            // A mask with holes is no prefix.
            (mask.count_ones() == length).then(|| u8::try_from(length).ok())??
        }
    };
    (length <= 32).then(|| Span::prefix(address, length))
}

/// The numbers of protocols by their names.
pub const PROTOCOLS: [(&str, u32); 13] = [
    ("icmp", 1),
    ("igmp", 2),
    ("ipencap", 4),
    ("tcp", 6),
    ("udp", 17),
    ("dccp", 33),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("ipv6-icmp", 58),
    ("ospf", 89),
    ("sctp", 132),
    ("udplite", 136),
];

/// A protocol, by name or number.
#[must_use]
pub fn protocol(text: &str) -> Option<u32> {
    let named = PROTOCOLS.iter().find(|(name, _)| *name == text).map(|(_, number)| *number);
    named.or_else(|| text.parse::<u8>().ok().map(u32::from))
}

/// Ports and ranges of them, with commas between; `between` is what stands in a range.
#[must_use]
pub fn ports(list: &str, between: char) -> Option<Vec<Span>> {
    let port = |text: &str| text.parse::<u16>().ok().map(u32::from);
    let span = |text: &str| match text.split_once(between) {
        None => port(text).map(Span::one),
        Some((first, last)) => {
            // iptables leaves the ends out where they are the least or the greatest.
            let first = if first.is_empty() { 0 } else { port(first)? };
            let last = if last.is_empty() { u16::MAX.into() } else { port(last)? };
            (first <= last).then(|| Span::new(first, last))
        }
    };
    list.split(',').map(span).collect()
}

/// The type of an ICMP message. With a code we do not know which types have it.
#[must_use]
pub fn icmp_type(text: &str) -> Option<u32> {
    let kind = match text {
        "echo-reply" => 0,
        "destination-unreachable" => 3,
        "source-quench" => 4,
        "redirect" => 5,
        "echo-request" => 8,
        "router-advertisement" => 9,
        "router-solicitation" => 10,
        "time-exceeded" => 11,
        "parameter-problem" => 12,
        "timestamp-request" => 13,
        "timestamp-reply" => 14,
        number => number.parse::<u8>().ok()?,
    };
    Some(kind.into())
}

/// A number, decimal or with `0x`, and a mask of the same kind after `/`.
#[must_use]
pub fn masked(text: &str) -> Option<(u32, u32)> {
    match text.split_once('/') {
        None => number(text).map(|value| (value, u32::MAX)),
        Some((value, mask)) => Some((number(value)?, number(mask)?)),
    }
}

/// A number, decimal or with `0x`.
#[must_use]
pub fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// TCP flags with commas between, as the header has them.
#[must_use]
pub fn tcp_flags(list: &str) -> Option<u8> {
    list.split(',').try_fold(0, |flags, name| {
        let flag = match name.to_ascii_uppercase().as_str() {
            "FIN" => 0x01,
            "SYN" => 0x02,
            "RST" => 0x04,
            "PSH" => 0x08,
            "ACK" => 0x10,
            "URG" => 0x20,
            "ALL" => 0x3f,
            "NONE" => 0,
            _ => return None,
        };
        Some(flags | flag)
    })
}

/// What something is translated to: an address, and maybe a port.
#[must_use]
pub fn target(text: &str) -> Option<(Ipv4Addr, Option<u16>)> {
    match text.split_once(':') {
        None => Some((text.parse().ok()?, None)),
        Some((address, port)) => Some((address.parse().ok()?, Some(port.parse().ok()?))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_every_kind() {
        let whole = Span::prefix(Ipv4Addr::new(10, 0, 0, 0), 8);
        assert_eq!(addresses("10.0.0.0/8"), Some(vec![whole]));
        assert_eq!(addresses("10.0.0.0/255.0.0.0"), Some(vec![whole]));
        assert_eq!(
            addresses("10.0.0.1,10.0.0.3-10.0.0.4"),
            Some(vec![Span::one(0x0a00_0001), Span::new(0x0a00_0003, 0x0a00_0004)])
        );
        for wrong in
            ["", "10", "10.0.0.0/33", "10.0.0.0/255.0.255.0", "::1", "b", "10.0.0.4-10.0.0.3"]
        {
            assert_eq!(addresses(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn numbers_and_flags() {
        assert_eq!(masked("0x10/0xff"), Some((16, 255)));
        assert_eq!(masked("7"), Some((7, u32::MAX)));
        assert_eq!(ports("80,90:", ':'), Some(vec![Span::one(80), Span::new(90, 65_535)]));
        assert_eq!(ports("9-8", '-'), None);
        assert_eq!(tcp_flags("SYN,ack"), Some(0x12));
        assert_eq!(icmp_type("8/0"), None);
        assert_eq!(icmp_type("256"), None);
        assert_eq!(protocol("udp"), Some(17));
        assert_eq!(protocol("256"), None);
    }
}
