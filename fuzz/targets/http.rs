//! Connections that speak HTTP: nothing panics, the requests and the refusal are the same in
//! whatever parts the bytes arrive, no head is accepted that two programs could read in two ways,
//! no path leaves the share, and a range lies within its content.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sprat::config::{HTTP_HEAD_BYTES_MAX, HTTP_HEADERS_MAX};
use sprat::http::{FileTarget, Reader, Request, Span, file_target, hosts, parse, span};

/// What no head that is accepted may have, read here by lines alone.
fn check_head(head: &[u8], request: &Request) {
    assert!(
        head.len() - request.body_bytes <= HTTP_HEAD_BYTES_MAX && !head[..head.len() - request.body_bytes].contains(&0)
    );
    let head = String::from_utf8_lossy(&head[..head.len() - request.body_bytes]).to_ascii_lowercase();
    let fields: Vec<&str> = head.split("\r\n").skip(1).filter(|line| !line.is_empty()).collect();
    let count = |name: &str| fields.iter().filter(|line| line.split(':').next() == Some(name)).count();
    assert!(fields.len() <= HTTP_HEADERS_MAX && count("transfer-encoding") == 0, "{head:?}");
    assert!(count("content-length") <= 1 && count("host") <= 1, "{head:?}");
    assert!(!fields.iter().any(|line| line.starts_with([' ', '\t'])), "{head:?}");
}

fuzz_target!(|data: &[u8]| {
    let (size, data) =
        data.split_first_chunk::<8>().map_or((0, data), |(size, rest)| (u64::from_le_bytes(*size), rest));
    // The size of the parts is drawn from the same bytes.
    let length = 1 + (size % 61) as usize;
    assert_eq!(Reader::read(data.chunks(length)), Reader::read([data]));
    let parsed = parse(data);
    if let Ok(Some((request, used))) = &parsed {
        assert!(*used <= data.len() && request.path.starts_with('/'));
        assert_eq!(parse(&data[..*used]), parsed, "what follows a request does not change it");
        check_head(&data[..*used], request);
        // A beginning of it is refused or not complete.
        assert!(!matches!(parse(&data[..*used - 1]), Ok(Some(_))));
        let _ = hosts::is_own(&request.host, &[]);
        // It becomes a part of URLs.
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
        assert!(request.host.bytes().all(is_plain), "{:?}", request.host);
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
