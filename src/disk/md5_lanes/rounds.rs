//! The rounds of MD5, written once for every width: RFC 1321, section 3.4.

/// `floor(2^32 · |sin(i + 1)|)`, from RFC 1321 section 3.4.
#[rustfmt::skip]
pub(super) const SINES: [u32; 64] = [
    0xd76a_a478, 0xe8c7_b756, 0x2420_70db, 0xc1bd_ceee, 0xf57c_0faf, 0x4787_c62a, 0xa830_4613, 0xfd46_9501,
    0x6980_98d8, 0x8b44_f7af, 0xffff_5bb1, 0x895c_d7be, 0x6b90_1122, 0xfd98_7193, 0xa679_438e, 0x49b4_0821,
    0xf61e_2562, 0xc040_b340, 0x265e_5a51, 0xe9b6_c7aa, 0xd62f_105d, 0x0244_1453, 0xd8a1_e681, 0xe7d3_fbc8,
    0x21e1_cde6, 0xc337_07d6, 0xf4d5_0d87, 0x455a_14ed, 0xa9e3_e905, 0xfcef_a3f8, 0x676f_02d9, 0x8d2a_4c8a,
    0xfffa_3942, 0x8771_f681, 0x6d9d_6122, 0xfde5_380c, 0xa4be_ea44, 0x4bde_cfa9, 0xf6bb_4b60, 0xbebf_bc70,
    0x289b_7ec6, 0xeaa1_27fa, 0xd4ef_3085, 0x0488_1d05, 0xd9d4_d039, 0xe6db_99e5, 0x1fa2_7cf8, 0xc4ac_5665,
    0xf429_2244, 0x432a_ff97, 0xab94_23a7, 0xfc93_a039, 0x655b_59c3, 0x8f0c_cc92, 0xffef_f47d, 0x8584_5dd1,
    0x6fa8_7e4f, 0xfe2c_e6e0, 0xa301_4314, 0x4e08_11a1, 0xf753_7e82, 0xbd3a_f235, 0x2ad7_d2bb, 0xeb86_d391,
];

/// Sixteen steps of the function `$f` over `$words`, from step `$first` on. Step `n` uses the word
/// `(factor · n + offset) mod 16`. The steps are written out so that every index and shift is a
/// constant. The module that uses the macro defines `add`, `splat` and `rotate`.
macro_rules! round {
    ($f:ident, $words:ident, ($a:ident, $b:ident, $c:ident, $d:ident), $first:literal, $factor:literal, $offset:literal,
     [$s0:literal, $s1:literal, $s2:literal, $s3:literal]) => {
        round!(@four $f, $words, ($a, $b, $c, $d), $first, $factor, $offset, $s0, $s1, $s2, $s3);
        round!(@four $f, $words, ($a, $b, $c, $d), $first + 4, $factor, $offset, $s0, $s1, $s2, $s3);
        round!(@four $f, $words, ($a, $b, $c, $d), $first + 8, $factor, $offset, $s0, $s1, $s2, $s3);
        round!(@four $f, $words, ($a, $b, $c, $d), $first + 12, $factor, $offset, $s0, $s1, $s2, $s3);
    };
    (@four $f:ident, $words:ident, ($a:ident, $b:ident, $c:ident, $d:ident), $n:expr, $factor:literal, $offset:literal,
     $s0:literal, $s1:literal, $s2:literal, $s3:literal) => {
        round!(@step $f, $words, ($a, $b, $c, $d), $n, $factor, $offset, $s0);
        round!(@step $f, $words, ($d, $a, $b, $c), $n + 1, $factor, $offset, $s1);
        round!(@step $f, $words, ($c, $d, $a, $b), $n + 2, $factor, $offset, $s2);
        round!(@step $f, $words, ($b, $c, $d, $a), $n + 3, $factor, $offset, $s3);
    };
    (@step $f:ident, $words:ident, ($a:ident, $b:ident, $c:ident, $d:ident), $n:expr, $factor:literal, $offset:literal,
     $shift:literal) => {
        // This sum does not depend on the step before. This shortens the chain of dependent
        // operations.
        let early = add($a, add($words[($factor * ($n) + $offset) % 16], splat(SINES[$n])));
        $a = add($b, rotate::<$shift>(add(early, $f($b, $c, $d))));
    };
}

/// The four rounds.
macro_rules! rounds {
    ($words:ident, $a:ident, $b:ident, $c:ident, $d:ident) => {
        round!(f, $words, ($a, $b, $c, $d), 0, 1, 0, [7, 12, 17, 22]);
        round!(g, $words, ($a, $b, $c, $d), 16, 5, 1, [5, 9, 14, 20]);
        round!(h, $words, ($a, $b, $c, $d), 32, 3, 5, [4, 11, 16, 23]);
        round!(i, $words, ($a, $b, $c, $d), 48, 7, 0, [6, 10, 15, 21]);
    };
}
