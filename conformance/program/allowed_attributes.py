"""Attributes that a program may use, apart from names of torch: an allow-list, and the names that it may not define.

A program may also use attributes that it defines itself (methods, class attributes, assigned ones), unless the name is
reserved: on another value it would reach a frame, a module, memory or a file.
"""

from __future__ import annotations

import re

__all__ = ["ATTRIBUTES", "is_reserved"]

_TENSOR = """
    H T abs abs_ absolute absolute_ acos acos_ acosh acosh_ add add_ addbmm addbmm_ addcdiv addcdiv_ addcmul
    addcmul_ addmm addmm_ addmv addmv_ addr addr_ adjoint all allclose amax amin aminmax angle any arccos arccos_
    arccosh arccosh_ arcsin arcsin_ arcsinh arcsinh_ arctan arctan2 arctan2_ arctan_ arctanh arctanh_ argmax argmin
    argsort argwhere as_strided as_strided_ as_strided_scatter asin asin_ asinh asinh_ atan atan2 atan2_ atan_ atanh
    atanh_ backward baddbmm baddbmm_ bernoulli bernoulli_ bfloat16 bincount bitwise_and bitwise_and_
    bitwise_left_shift bitwise_left_shift_ bitwise_not bitwise_not_ bitwise_or bitwise_or_ bitwise_right_shift
    bitwise_right_shift_ bitwise_xor bitwise_xor_ bmm bool broadcast_to byte cauchy_ cdouble ceil ceil_ cfloat char
    cholesky cholesky_inverse cholesky_solve chunk clamp clamp_ clamp_max clamp_max_ clamp_min clamp_min_ clip clip_
    clone conj conj_physical conj_physical_ contiguous copy_ copysign copysign_ corrcoef cos cos_ cosh cosh_
    count_nonzero cov cpu cross cummax cummin cumprod cumprod_ cumsum cumsum_ data deg2rad deg2rad_ det detach
    detach_ device diag diag_embed diagflat diagonal diagonal_scatter diff digamma digamma_ dim dist div div_ divide
    divide_ dot double dsplit dtype element_size eq eq_ equal erf erf_ erfc erfc_ erfinv erfinv_ exp exp2 exp2_ exp_
    expand expand_as expm1 expm1_ exponential_ fill_ fill_diagonal_ fix fix_ flatten flip fliplr flipud float
    float_power float_power_ floor floor_ floor_divide floor_divide_ fmax fmin fmod fmod_ frac frac_ frexp gather
    gcd gcd_ ge ge_ geometric_ ger get_device grad grad_fn greater greater_ greater_equal greater_equal_ gt gt_ half
    hardshrink heaviside heaviside_ histc histogram hsplit hypot hypot_ i0 i0_ igamma igamma_ igammac igammac_ imag
    index index_add index_add_ index_copy index_copy_ index_fill index_fill_ index_put index_put_ index_reduce
    index_reduce_ index_select indices inner int inverse is_complex is_conj is_contiguous is_cpu is_floating_point
    is_inference is_leaf is_meta is_neg is_nonzero is_same_size is_set_to is_signed is_sparse isclose isfinite isinf
    isnan isneginf isposinf isreal item itemsize kron kthvalue layout lcm lcm_ ldexp ldexp_ le le_ lerp lerp_ less
    less_ less_equal less_equal_ lgamma lgamma_ log log10 log10_ log1p log1p_ log2 log2_ log_ log_normal_
    log_softmax logaddexp logaddexp2 logcumsumexp logdet logical_and logical_and_ logical_not logical_not_
    logical_or logical_or_ logical_xor logical_xor_ logit logit_ logsumexp long lt lt_ lu lu_solve mH mT masked_fill
    masked_fill_ masked_scatter masked_scatter_ masked_select matmul matrix_exp matrix_power max maximum mean median
    min minimum mm mode moveaxis movedim msort mul mul_ multinomial multiply multiply_ mv mvlgamma mvlgamma_
    nan_to_num nan_to_num_ nanmean nanmedian nanquantile nansum narrow narrow_copy nbytes ndim ndimension ne ne_ neg
    neg_ negative negative_ nelement new_empty new_empty_strided new_full new_ones new_tensor new_zeros nextafter
    nextafter_ nonzero nonzero_static norm normal_ not_equal not_equal_ numel orgqr ormqr outer output_nr permute
    pinverse polygamma polygamma_ positive pow pow_ prelu prod put put_ qr quantile rad2deg rad2deg_ random_ ravel
    real reciprocal reciprocal_ register_hook register_post_accumulate_grad_hook relu relu_ remainder remainder_
    renorm renorm_ repeat repeat_interleave requires_grad requires_grad_ reshape reshape_as resize_ resize_as_
    resolve_conj resolve_neg retain_grad retains_grad roll rot90 round round_ rsqrt rsqrt_ scatter scatter_
    scatter_add scatter_add_ scatter_reduce scatter_reduce_ select select_scatter sgn sgn_ shape short sigmoid
    sigmoid_ sign sign_ signbit sin sin_ sinc sinc_ sinh sinh_ size slice_scatter slogdet softmax sort split
    split_with_sizes sqrt sqrt_ square square_ squeeze squeeze_ std storage_offset stride sub sub_ subtract
    subtract_ sum sum_to_size svd swapaxes swapaxes_ swapdims swapdims_ t t_ take take_along_dim tan tan_ tanh tanh_
    tensor_split tile to to_dense tolist topk trace transpose transpose_ tril tril_ triu triu_ true_divide
    true_divide_ trunc trunc_ type type_as unbind unflatten unfold uniform_ unique unique_consecutive unsafe_chunk
    unsafe_split unsqueeze unsqueeze_ values var vdot view view_as vsplit where xlogy xlogy_ zero_
"""

_MODULE = """
    add_module add_param_group affine apply bfloat16 bias bias_hh_l0 bias_ih_l0 buffers children defaults dilation
    double embedding_dim eps eval extra_repr flatten_parameters float forward get_scale groups half in_channels
    in_features in_proj_bias in_proj_weight inplace kernel_size load_state_dict modules momentum named_buffers
    named_children named_modules named_parameters negative_slope normalized_shape num_batches_tracked num_embeddings
    num_features out_channels out_features out_proj p padding param_groups parameters register_buffer
    register_forward_hook register_forward_pre_hook register_full_backward_hook register_full_backward_pre_hook
    register_module register_parameter requires_grad_ running_mean running_var scale state state_dict step to
    track_running_stats train training unscale_ update weight weight_hh_l0 weight_ih_l0 zero_grad
"""

_AUTOGRAD = """
    get_offset get_state initial_seed jvp manual_seed mark_dirty mark_non_differentiable materialize_grads name
    needs_input_grad next_functions primal register_prehook remove save_for_backward save_for_forward saved_tensors
    set_materialize_grads set_offset set_state tangent vjp
"""

_PYTHON = """
    add append args bit_length bits clear close conjugate copy count difference discard endswith eps extend find get
    getter imag index insert intersection is_integer is_signed issubset issuperset items join keys lower lstrip max
    min pop popitem real remove replace resolution reverse rstrip send setdefault setter smallest_normal sort split
    start startswith step stop strip throw tiny title to_complex to_real type union update upper value values
"""

ATTRIBUTES = frozenset(f"{_TENSOR} {_MODULE} {_AUTOGRAD} {_PYTHON}".split())
"""Attributes and methods of tensors, modules, optimizers, contexts of autograd, exceptions and containers."""

# Frames, code, generators, coroutines and tracebacks lead to every builtin; their attributes have these prefixes.
_INSPECTION = re.compile(r"(ag|co|cr|f|func|gi|im|tb)_")

_RESERVED = """
    apply_ as_subclass builtins clone_state compile const_data_ptr ctypes data_ptr decode dump dumps encode exec
    format format_map get_buffer get_extra_state get_parameter get_submodule graphsafe_get_state graphsafe_set_state
    importlib load loads maketrans map2_ map_ metadata module_load mro new numpy obj open os pin_memory popen
    record_stream reduce reduce_ex save set_ set_extra_state set_submodule share_memory share_memory_ storage
    storage_type subprocess sys system tofile translate typed_storage untyped_storage with_traceback
"""

_RESERVED_NAMES = frozenset(_RESERVED.split())


def is_reserved(name: str) -> bool:
    """Return whether a program may not even define an attribute of this name, because it is unsafe on other values."""
    return name in _RESERVED_NAMES or _INSPECTION.match(name) is not None
