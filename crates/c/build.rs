//! Names the interface that a program was linked against: it changes when an old program would
//! misunderstand.

fn main() {
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libmagpie.so.0");
}
