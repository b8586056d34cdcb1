# The tag that C++ exceptions carry. LLVM no longer defines it in every object; one definition for all of them.
	.globl	__cpp_exception
	.tagtype	__cpp_exception i32
__cpp_exception:
