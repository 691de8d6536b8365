"""Names that a program may use: allow-lists, because a list of forbidden names always leaks.

Modules of torch expose `os`, `sys` and `ctypes` as attributes, so a name under `torch`, `F` or `math` must be listed
in full. Attributes of other values: `conformance.program.allowed_attributes`. No name here loads, stores, compiles or
starts anything, and none is a module (a test checks the list against torch).
"""

from __future__ import annotations

__all__ = ["BASES", "BUILTINS", "CONTEXTS", "DECORATORS", "DOTTED", "DUNDERS", "ROOTS"]

ROOTS = frozenset({"F", "math", "torch"})
"""Names that may only start a dotted name; alone they would give the program a module."""


def _under(prefix: str, names: str) -> frozenset[str]:
    return frozenset(f"{prefix}.{name}" for name in names.split())


_FUNCTIONS = """
    abs abs_ absolute acos acos_ acosh acosh_ adaptive_avg_pool1d adaptive_max_pool1d add addbmm addcdiv addcmul
    addmm addmv addmv_ addr adjoint alias_copy all allclose alpha_dropout alpha_dropout_ amax amin aminmax angle any
    arange arccos arccos_ arccosh arccosh_ arcsin arcsin_ arcsinh arcsinh_ arctan arctan2 arctan_ arctanh arctanh_
    argmax argmin argsort argwhere as_strided as_strided_ as_strided_copy as_strided_scatter as_tensor asin asin_
    asinh asinh_ atan atan2 atan_ atanh atanh_ atleast_1d atleast_2d atleast_3d avg_pool1d baddbmm bartlett_window
    batch_norm bernoulli bilinear binary_cross_entropy_with_logits bincount binomial bitwise_and bitwise_left_shift
    bitwise_not bitwise_or bitwise_right_shift bitwise_xor blackman_window block_diag bmm broadcast_shapes
    broadcast_tensors broadcast_to bucketize can_cast cartesian_prod cat cdist ceil ceil_ celu celu_ chain_matmul
    channel_shuffle cholesky cholesky_inverse cholesky_solve chunk clamp clamp_ clamp_max clamp_max_ clamp_min
    clamp_min_ clip clip_ clone column_stack combinations complex concat concatenate cond conj conj_physical
    conj_physical_ constant_pad_nd conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d
    convolution copysign corrcoef cos cos_ cosh cosh_ cosine_embedding_loss cosine_similarity count_nonzero cov
    cross ctc_loss cummax cummin cumprod cumsum cumulative_trapezoid deg2rad deg2rad_ det detach detach_ detach_copy
    diag diag_embed diagflat diagonal diagonal_copy diagonal_scatter diff digamma dist div divide dot dropout
    dropout_ dsplit dstack einsum embedding embedding_bag empty empty_like empty_permuted empty_strided eq equal erf
    erf_ erfc erfc_ erfinv exp exp2 exp2_ exp_ expand_copy expm1 expm1_ eye feature_alpha_dropout
    feature_alpha_dropout_ feature_dropout feature_dropout_ fill fill_ fix fix_ flatten flip fliplr flipud
    float_power floor floor_ floor_divide fmax fmin fmod frac frac_ frexp frobenius_norm full full_like gather gcd
    gcd_ ge ger get_default_dtype get_rng_state gradient greater greater_equal grid_sampler grid_sampler_2d
    grid_sampler_3d group_norm gru gru_cell gt hamming_window hann_window hardshrink heaviside hinge_embedding_loss
    histc histogram histogramdd hsplit hstack hypot i0 i0_ igamma igammac imag index_add index_copy index_fill
    index_put index_put_ index_reduce index_select initial_seed inner instance_norm inverse is_complex is_conj
    is_floating_point is_grad_enabled is_inference is_inference_mode_enabled is_neg is_nonzero is_same_size
    is_signed is_tensor isclose isfinite isin isinf isnan isneginf isposinf isreal istft kaiser_window kl_div kron
    kthvalue layer_norm lcm lcm_ ldexp ldexp_ le lerp less less_equal lgamma linspace lobpcg log log10 log10_ log1p
    log1p_ log2 log2_ log_ log_softmax logaddexp logaddexp2 logcumsumexp logdet logical_and logical_not logical_or
    logical_xor logit logit_ logspace logsumexp lstm lstm_cell lt lu lu_solve lu_unpack manual_seed
    margin_ranking_loss masked_fill masked_scatter masked_select matmul matrix_exp matrix_power max max_pool1d
    max_pool1d_with_indices max_pool2d max_pool3d maximum mean median meshgrid min minimum mm mode moveaxis movedim
    msort mul multinomial multiply mv mvlgamma nan_to_num nan_to_num_ nanmean nanmedian nanquantile nansum narrow
    narrow_copy ne neg neg_ negative negative_ nextafter nonzero nonzero_static norm normal not_equal nuclear_norm
    numel ones ones_like orgqr ormqr outer pairwise_distance pdist permute permute_copy pinverse pixel_shuffle
    pixel_unshuffle poisson poisson_nll_loss polar polygamma positive pow prelu prod promote_types qr quantile
    rad2deg rad2deg_ rand rand_like randint randint_like randn randn_like randperm range ravel real reciprocal
    reciprocal_ relu relu_ remainder renorm repeat_interleave reshape resize_as_ resolve_conj resolve_neg
    result_type rms_norm rnn_relu rnn_relu_cell rnn_tanh rnn_tanh_cell roll rot90 round round_ row_stack rrelu
    rrelu_ rsqrt rsqrt_ scalar_tensor scatter scatter_add scatter_reduce searchsorted select select_copy
    select_scatter selu selu_ set_default_dtype set_rng_state sgn sigmoid sigmoid_ sign signbit sin sin_ sinc sinc_
    sinh sinh_ slice_copy slice_scatter slogdet softmax sort split split_copy split_with_sizes split_with_sizes_copy
    sqrt sqrt_ square square_ squeeze squeeze_copy stack std std_mean stft sub subtract sum svd swapaxes swapdims
    sym_float sym_int sym_max sym_min sym_not sym_sqrt sym_sum t t_copy take take_along_dim tan tan_ tanh tanh_
    tensor tensor_split tensordot threshold threshold_ tile topk trace transpose transpose_copy trapezoid trapz tril
    tril_indices triplet_margin_loss triu triu_indices true_divide trunc trunc_ unbind unbind_copy unflatten
    unfold_copy unique unique_consecutive unravel_index unsafe_chunk unsafe_split unsqueeze unsqueeze_copy vander
    var var_mean vdot view_as_complex view_as_complex_copy view_as_real view_as_real_copy view_copy vmap vsplit
    vstack where while_loop xlogy xlogy_ zero_ zeros zeros_like
"""

_MODES = """
    autocast clear_autocast_cache enable_grad get_autocast_cpu_dtype get_autocast_dtype inference_mode
    is_autocast_cache_enabled is_autocast_cpu_enabled is_autocast_enabled is_grad_enabled is_inference_mode_enabled
    no_grad set_autocast_cache_enabled set_autocast_cpu_dtype set_autocast_cpu_enabled set_autocast_dtype
    set_autocast_enabled set_grad_enabled
"""

_TYPES = """
    Generator Size Tensor bfloat16 bool cdouble cfloat channels_last channels_last_3d complex128 complex64
    contiguous_format device double dtype e finfo float float16 float32 float64 half iinfo inf int int16 int32 int64
    int8 layout long memory_format nan newaxis pi preserve_format short strided uint16
    uint32 uint64 uint8
"""

_FUNCTIONAL = """
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool1d_with_indices
    adaptive_max_pool2d adaptive_max_pool2d_with_indices adaptive_max_pool3d adaptive_max_pool3d_with_indices
    affine_grid alpha_dropout avg_pool1d avg_pool2d avg_pool3d batch_norm bilinear binary_cross_entropy
    binary_cross_entropy_with_logits celu celu_ channel_shuffle conv1d conv2d conv3d conv_transpose1d
    conv_transpose2d conv_transpose3d cosine_embedding_loss cosine_similarity cross_entropy ctc_loss dropout
    dropout1d dropout2d dropout3d elu elu_ embedding embedding_bag feature_alpha_dropout fold fractional_max_pool2d
    fractional_max_pool2d_with_indices fractional_max_pool3d fractional_max_pool3d_with_indices gaussian_nll_loss
    gelu glu grid_sample group_norm gumbel_softmax hardshrink hardsigmoid hardswish hardtanh hardtanh_
    hinge_embedding_loss huber_loss instance_norm interpolate kl_div l1_loss layer_norm leaky_relu leaky_relu_
    linear local_response_norm log_softmax logsigmoid lp_pool1d lp_pool2d lp_pool3d margin_ranking_loss max_pool1d
    max_pool1d_with_indices max_pool2d max_pool2d_with_indices max_pool3d max_pool3d_with_indices max_unpool1d
    max_unpool2d max_unpool3d mish mse_loss multi_head_attention_forward multi_margin_loss multilabel_margin_loss
    multilabel_soft_margin_loss nll_loss normalize one_hot pad pairwise_distance pdist pixel_shuffle pixel_unshuffle
    poisson_nll_loss prelu relu relu6 relu_ rms_norm rrelu rrelu_ scaled_dot_product_attention selu selu_ sigmoid
    silu smooth_l1_loss soft_margin_loss softmax softmin softplus softshrink softsign tanh tanhshrink threshold
    threshold_ triplet_margin_loss triplet_margin_with_distance_loss unfold
"""

_LINALG = """
    LinAlgError cholesky cholesky_ex cond cross det diagonal eig eigh eigvals eigvalsh householder_product inv
    inv_ex ldl_factor ldl_factor_ex ldl_solve lstsq lu lu_factor lu_factor_ex lu_solve matmul matrix_exp matrix_norm
    matrix_power matrix_rank multi_dot norm pinv qr slogdet solve solve_ex solve_triangular svd svdvals tensorinv
    tensorsolve vander vecdot vector_norm
"""

_SPECIAL = """
    airy_ai bessel_j0 bessel_j1 bessel_y0 bessel_y1 chebyshev_polynomial_t chebyshev_polynomial_u
    chebyshev_polynomial_v chebyshev_polynomial_w digamma entr erf erfc erfcx erfinv exp2 expit expm1 gammainc
    gammaincc gammaln hermite_polynomial_h hermite_polynomial_he i0 i0e i1 i1e laguerre_polynomial_l
    legendre_polynomial_p log1p log_ndtr log_softmax logit logsumexp modified_bessel_i0 modified_bessel_i1
    modified_bessel_k0 modified_bessel_k1 multigammaln ndtr ndtri polygamma psi round scaled_modified_bessel_k0
    scaled_modified_bessel_k1 shifted_chebyshev_polynomial_t shifted_chebyshev_polynomial_u
    shifted_chebyshev_polynomial_v shifted_chebyshev_polynomial_w sinc softmax spherical_bessel_j0 xlog1py xlogy
    zeta
"""

_FFT = """
    fft fft2 fftfreq fftn fftshift hfft hfft2 hfftn ifft ifft2 ifftn ifftshift ihfft ihfft2 ihfftn irfft irfft2
    irfftn rfft rfft2 rfftfreq rfftn
"""

_MODULES = """
    AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d AdaptiveLogSoftmaxWithLoss AdaptiveMaxPool1d
    AdaptiveMaxPool2d AdaptiveMaxPool3d AlphaDropout AvgPool1d AvgPool2d AvgPool3d BCELoss BCEWithLogitsLoss
    BatchNorm1d BatchNorm2d BatchNorm3d Bilinear Buffer CELU CTCLoss ChannelShuffle CircularPad1d CircularPad2d
    CircularPad3d ConstantPad1d ConstantPad2d ConstantPad3d Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d
    ConvTranspose3d CosineEmbeddingLoss CosineSimilarity CrossEntropyLoss Dropout Dropout1d Dropout2d Dropout3d ELU
    Embedding EmbeddingBag FeatureAlphaDropout Flatten Fold FractionalMaxPool2d FractionalMaxPool3d GELU GLU GRU
    GRUCell GaussianNLLLoss GroupNorm Hardshrink Hardsigmoid Hardswish Hardtanh HingeEmbeddingLoss HuberLoss
    Identity InstanceNorm1d InstanceNorm2d InstanceNorm3d KLDivLoss L1Loss LPPool1d LPPool2d LPPool3d LSTM LSTMCell
    LayerNorm LeakyReLU Linear LocalResponseNorm LogSigmoid LogSoftmax MSELoss MarginRankingLoss MaxPool1d MaxPool2d
    MaxPool3d MaxUnpool1d MaxUnpool2d MaxUnpool3d Mish Module ModuleDict ModuleList MultiLabelMarginLoss
    MultiLabelSoftMarginLoss MultiMarginLoss MultiheadAttention NLLLoss PReLU PairwiseDistance Parameter
    ParameterDict ParameterList PixelShuffle PixelUnshuffle PoissonNLLLoss RMSNorm RNN RNNCell RReLU ReLU ReLU6
    ReflectionPad1d ReflectionPad2d ReflectionPad3d ReplicationPad1d ReplicationPad2d ReplicationPad3d SELU
    Sequential SiLU Sigmoid SmoothL1Loss SoftMarginLoss Softmax Softmax2d Softmin Softplus Softshrink Softsign Tanh
    Tanhshrink Threshold TransformerDecoder TransformerDecoderLayer TransformerEncoder TransformerEncoderLayer
    TripletMarginLoss TripletMarginWithDistanceLoss Unflatten Unfold Upsample ZeroPad1d ZeroPad2d ZeroPad3d
"""

_INIT = """
    calculate_gain constant_ dirac_ eye_ kaiming_normal_ kaiming_uniform_ normal_ ones_ orthogonal_ sparse_
    trunc_normal_ uniform_ xavier_normal_ xavier_uniform_ zeros_
"""

_ELSEWHERE = """
    _dynamo.graph_break amp.GradScaler amp.autocast amp.custom_bwd amp.custom_fwd amp.is_autocast_available
    autograd.Function autograd.backward autograd.enable_grad autograd.forward_ad.dual_level
    autograd.forward_ad.make_dual autograd.forward_ad.unpack_dual autograd.function.once_differentiable
    autograd.functional.hessian autograd.functional.hvp autograd.functional.jacobian autograd.functional.jvp
    autograd.functional.vhp autograd.functional.vjp autograd.grad autograd.graph.allow_mutation_on_saved_tensors
    autograd.graph.disable_saved_tensors_hooks autograd.graph.increment_version
    autograd.graph.register_multi_grad_hook autograd.graph.save_on_cpu autograd.graph.saved_tensors_hooks
    autograd.inference_mode autograd.no_grad autograd.set_grad_enabled compiler.allow_in_graph compiler.disable
    compiler.is_compiling compiler.is_dynamo_compiling compiler.nested_compile_region func.functional_call
    func.functionalize func.grad func.grad_and_value func.hessian func.jacfwd func.jacrev func.jvp func.linearize
    func.stack_module_state func.vjp func.vmap nn.attention.SDPBackend.MATH nn.attention.sdpa_kernel
    nn.utils.clip_grad_norm_ nn.utils.clip_grad_value_ nn.utils.get_total_norm nn.utils.parameters_to_vector
    nn.utils.vector_to_parameters optim.ASGD optim.Adadelta optim.Adafactor optim.Adagrad optim.Adam optim.AdamW
    optim.Adamax optim.LBFGS optim.NAdam optim.RAdam optim.RMSprop optim.Rprop optim.SGD random.fork_rng
    utils.checkpoint.checkpoint utils.checkpoint.checkpoint_sequential
"""

_MATH = """
    acos acosh asin asinh atan atan2 atanh cbrt ceil comb copysign cos cosh degrees dist e erf erfc exp exp2 expm1
    fabs factorial floor fmod frexp fsum gamma gcd hypot inf isclose isfinite isinf isnan isqrt lcm ldexp lgamma log
    log10 log1p log2 modf nan nextafter perm pi pow prod radians remainder sin sinh sqrt tan tanh tau trunc ulp
"""

DOTTED = frozenset().union(
    _under("torch", f"{_FUNCTIONS} {_MODES} {_TYPES} {_ELSEWHERE}"),
    _under("torch.nn.functional", _FUNCTIONAL),
    _under("F", _FUNCTIONAL),
    _under("torch.linalg", _LINALG),
    _under("torch.special", _SPECIAL),
    _under("torch.fft", _FFT),
    _under("torch.nn", _MODULES),
    _under("torch.nn.init", _INIT),
    _under("math", _MATH),
)
"""Every dotted name a program may use, complete from its root."""

_CONTEXTS = """
    amp.autocast autocast autograd.enable_grad autograd.forward_ad.dual_level
    autograd.graph.allow_mutation_on_saved_tensors autograd.graph.disable_saved_tensors_hooks
    autograd.graph.save_on_cpu autograd.graph.saved_tensors_hooks autograd.inference_mode autograd.no_grad
    autograd.set_grad_enabled enable_grad inference_mode nn.attention.sdpa_kernel no_grad random.fork_rng
    set_grad_enabled
"""

CONTEXTS = _under("torch", _CONTEXTS)
"""Contexts that a `with` may call, besides those that the program defines."""

_DECORATORS = """
    amp.custom_bwd amp.custom_fwd autograd.function.once_differentiable compiler.allow_in_graph compiler.disable
    compiler.nested_compile_region func.grad func.vmap vmap
"""

DECORATORS = CONTEXTS | frozenset({"classmethod", "property", "staticmethod"}) | _under("torch", _DECORATORS)
"""Decorators, called or not, besides those that the program defines."""

_EXCEPTIONS = """
    ArithmeticError AssertionError AttributeError Exception FloatingPointError IndexError KeyError LookupError
    NotImplementedError OverflowError RuntimeError StopIteration TypeError UserWarning ValueError ZeroDivisionError
"""

BASES = frozenset({"torch.autograd.Function", "torch.nn.Module", *_EXCEPTIONS.split()})
"""Base classes, besides classes of the program."""

_BUILTINS = """
    abs all any bool callable classmethod complex dict divmod enumerate filter float frozenset int isinstance iter
    len list map max min next pow print property range repr reversed round set slice sorted staticmethod str sum
    super tuple zip
"""

BUILTINS = frozenset(f"{_EXCEPTIONS} {_BUILTINS}".split())
"""The builtins of a program: nothing that reads attributes by name, compiles, or touches files."""

_DUNDERS = """
    __add__ __bool__ __call__ __contains__ __enter__ __eq__ __exit__ __float__ __ge__ __getitem__ __gt__ __hash__
    __iadd__ __imul__ __index__ __init__ __int__ __iter__ __le__ __len__ __lt__ __matmul__ __mul__ __ne__ __neg__
    __next__ __pow__ __radd__ __repr__ __rmatmul__ __rmul__ __rsub__ __rtruediv__ __setitem__ __str__ __sub__
    __truediv__
"""

DUNDERS = frozenset(_DUNDERS.split())
"""Methods with two underscores that a class of the program may define, and call through `super()`."""
