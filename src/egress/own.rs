//! Which addresses are the machine's own, on any of its interfaces.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address is one of this machine's. Asks the kernel each time: interfaces come and go.
///
/// # Errors
/// When the kernel does not tell.
pub fn is_own(address: IpAddr) -> io::Result<bool> {
    let mut first = std::ptr::null_mut();
    // SAFETY: the pointer outlives the call, which lets it point to a list of its own.
    if unsafe { libc::getifaddrs(&raw mut first) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let (mut next, mut own) = (first, false);
    // SAFETY: what is not null points to an entry of the list, which is there until it is freed, and so is its address.
    while let Some(entry) = unsafe { next.as_ref() } {
        own |= unsafe { entry.ifa_addr.as_ref() }.and_then(|found| unsafe { address_of(found) }) == Some(address);
        next = entry.ifa_next;
    }
    // SAFETY: the list is the one that was made above, and nobody has it any more.
    unsafe { libc::freeifaddrs(first) };
    Ok(own)
}

/// The address in a socket address; None of other families.
///
/// # Safety
/// What `found` begins is as long as its family says.
unsafe fn address_of(found: &libc::sockaddr) -> Option<IpAddr> {
    let found = std::ptr::from_ref(found);
    // SAFETY: an address of the family AF_INET is a `sockaddr_in`, one of AF_INET6 a `sockaddr_in6`.
    unsafe {
        match i32::from((*found).sa_family) {
            libc::AF_INET => {
                Some(Ipv4Addr::from(u32::from_be((*found.cast::<libc::sockaddr_in>()).sin_addr.s_addr)).into())
            }
            libc::AF_INET6 => Some(Ipv6Addr::from((*found.cast::<libc::sockaddr_in6>()).sin6_addr.s6_addr).into()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_addresses_are_known() {
        assert!(is_own(Ipv4Addr::LOCALHOST.into()).unwrap());
        assert!(!is_own(Ipv4Addr::new(203, 0, 113, 7).into()).unwrap());
        assert!(!is_own("2001:db8::7".parse().unwrap()).unwrap());
    }
}
