//! Heads of HTTP and what they name: nothing panics, a head is the same however it arrives, no path
//! leaves the share, and a range lies within its content.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sprat::http::{FileTarget, Span, file_target, hosts, parse, span};

fuzz_target!(|data: &[u8]| {
    let (size, data) = data.split_first_chunk::<8>().map_or((0, data), |(size, rest)| (u64::from_le_bytes(*size), rest));
    let parsed = parse(data);
    if let Ok(Some((request, used))) = &parsed {
        assert!(*used <= data.len() && request.path.starts_with('/'));
        assert_eq!(parse(&data[..*used]), parsed, "what follows a request does not change it");
        // A beginning of it is refused or not complete.
        assert!(!matches!(parse(&data[..*used - 1]), Ok(Some(_))));
        let _ = hosts::is_own(&request.host, &[]);
        if let Ok(Some(target)) = file_target(&request.path) {
            let path = match &target {
                FileTarget::File(path) | FileTarget::Meta(path) => path.as_str(),
                FileTarget::Folder(path) => path,
                FileTarget::Top | FileTarget::Root(_) | FileTarget::MetaOf(_) | FileTarget::Find => "",
            };
            assert!(!path.split('/').any(|part| part == ".." || part == ".") && !path.contains('\0'), "{path:?}");
        }
    }
    if let Span::Part { first, length } = span(&String::from_utf8_lossy(data), size) {
        assert!(length > 0 && first.checked_add(length).is_some_and(|end| end <= size));
    }
});
