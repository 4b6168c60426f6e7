"""Simplified Chinese: the same keys and placeholders as `en.py`."""

WORDS: dict[str, str] = {
    # headings of the columns
    "heading.as_of": "截至日期",
    "heading.account_id": "客户编号",
    "heading.account_name": "客户",
    "heading.csm": "客户成功经理",
    "heading.stage": "阶段",
    "heading.size_band": "规模",
    "heading.renewal_date": "续约日期",
    "heading.days_to_renewal": "距续约天数",
    "heading.arr": "年度经常性收入",
    "heading.currency": "币种",
    "heading.status": "是否评分",
    "heading.renewal_probability": "续约概率",
    "heading.renewal_low": "概率下限",
    "heading.renewal_high": "概率上限",
    "heading.risk_band": "风险",
    "heading.arr_at_risk": "风险金额",
    "heading.upsell_probability": "增购概率",
    "heading.cross_sell_probability": "交叉购买概率",
    "heading.expansion_probability": "扩展概率",
    "heading.quadrant": "建议方向",
    "heading.rank": "排名",
    "heading.within_capacity": "在承接能力内",
    "heading.reason": "原因 {number}",
    "heading.reason_feature": "原因 {number}：指标",
    "heading.reason_contribution": "原因 {number}：权重",
    "heading.reason_family": "原因 {number}：主题",
    "heading.reason_actionable": "原因 {number}：可采取行动",
    "heading.strength": "优势 {number}",
    "heading.playbook": "行动方案 {number}",
    "heading.alerts": "预警",
    "heading.probability_change": "较上期变化",
    "heading.reason_change": "变化原因",
    "heading.renewal_model": "续约模型",
    "heading.expansion_model": "扩展模型",
    # what each column means
    "about.as_of": "名单所依据的日期。只使用该日之前已知的信息。",
    "about.account_id": "客户在贵公司系统中的编号。",
    "about.account_name": "客户名称（以该日所知为准）。",
    "about.csm": "负责该客户的客户成功经理。",
    "about.stage": "客户在合同期内所处的阶段：启用期、平稳期或续约前。",
    "about.size_band": "按经常性收入划分的客户规模。",
    "about.renewal_date": "当前合同到期的日期。",
    "about.days_to_renewal": "从名单日期到续约日期的天数。",
    "about.arr": "所有执行中合同的年度经常性收入。",
    "about.currency": "本行所有金额的币种。",
    "about.status": "该客户是否有评分；如没有，说明原因。",
    "about.renewal_probability": "续约的可能性。显示为 80% 的客户，大约十家中有八家会续约。",
    "about.renewal_low": "该客户真实概率所在区间的下限（五次中约有四次落在区间内）。",
    "about.renewal_high": "该客户真实概率所在区间的上限（五次中约有四次落在区间内）。",
    "about.risk_band": "高：流失概率不低于 {high:.0%}。中：不低于 {medium:.0%}。低：低于该值。",
    "about.arr_at_risk": "年度经常性收入乘以流失概率，即同类客户平均损失的收入。",
    "about.upsell_probability": "未来 180 天内增加席位或升级版本的可能性。",
    "about.cross_sell_probability": "未来 180 天内购买新产品的可能性。",
    "about.expansion_probability": "未来 180 天内发生以上任一情况的可能性。",
    "about.quadrant": "把风险与增长放在一起看。扩展概率达到 {expansion:.0%} 视为有增长机会；只有高风险客户需要挽留。",
    "about.rank": "在该经理名下按风险金额排序，1 为最先。",
    "about.within_capacity": (
        "是否属于该经理能够承接的前若干客户（默认：{accounts:,} 家客户、{arr:,.0f} 年度经常性收入）。"
    ),
    "about.reason": (
        "最能说明流失风险的因素，并列出同类客户（规模和阶段相同）的中位数。它表示与流失相伴的现象，并不等于流失的原因。"
    ),
    "about.reason_feature": "该原因在指标表中的列名。",
    "about.reason_contribution": "该原因的分量（对数几率，合并其所有时间窗口）。负数表示偏向流失。",
    "about.reason_family": "该原因所属的主题。",
    "about.reason_actionable": "经理能否对此采取行动。",
    "about.strength": "最能支持续约的因素。",
    "about.playbook": "针对原因给出的行动步骤。暂未提供。",
    "about.alerts": "不论评分如何都应注意的警示。暂未提供。",
    "about.probability_change": "续约概率与上一期名单相比的变化（仅限同一次续约）。",
    "about.reason_change": (
        "与上一期名单相比概率变化的原因，以百分点计：数据变化、临近续约、更换模型；三者之和即为总变化。"
    ),
    "about.renewal_model": "给出续约概率的模型名称与版本。",
    "about.expansion_model": "给出扩展概率的模型名称与版本。",
    # values
    "stage.onboarding": "启用期",
    "stage.steady": "平稳期",
    "stage.pre_renewal": "续约前",
    "size_band.small": "小型",
    "size_band.medium": "中型",
    "size_band.large": "大型",
    "status.scored": "已评分",
    "status.too_little_history": "历史太短，未评分",
    "status.unlike_training": "与以往客户差异过大，未评分",
    "risk_band.high": "高",
    "risk_band.medium": "中",
    "risk_band.low": "低",
    "quadrant.save": "挽留",
    "quadrant.save_and_grow": "挽留并拓展",
    "quadrant.grow": "拓展",
    "quadrant.keep": "维护",
    "flag.yes": "是",
    "flag.no": "否",
    # what the reasons are about
    "family.commitment": "合同",
    "family.usage": "产品使用",
    "family.adoption": "推广应用",
    "family.stakeholders": "关键人与联系",
    "family.tickets": "服务工单",
    "family.sentiment": "满意度",
    "family.contact": "联系",
    "family.value": "价值目标",
    "family.fit": "客户匹配度",
    "family.advocacy": "转介绍",
    "family.care": "已做的干预",
    "family.other": "其他",
    # sentences
    "phrase.missing": "—",
    "phrase.no_figure": "暂无数据：{sentence}",
    "phrase.cut": " …（已截断：共 {length} 个字符）",
    "tier.S": "决策者",
    "tier.A": "部门负责人",
    "tier.B": "骨干员工",
    "kind.bug": "缺陷",
    "kind.request": "功能需求",
    "kind.question": "咨询",
    "kind.visit": "拜访",
    "kind.call": "电话",
    "kind.training": "培训",
    "kind.value_report": "价值报告",
    "kind.review": "复盘会",
    "kind.email": "邮件",
    "severity.low": "轻微",
    "severity.medium": "一般",
    "severity.high": "严重",
    "survey_kind.nps": "净推荐值",
    "survey_kind.csat": "满意度",
    "dimension.industry": "行业",
    "dimension.region": "地区",
    "dimension.channel": "渠道",
    "dimension.size_band": "规模",
    "dimension.plan": "套餐",
    "dimension.cohort": "签约年份",
    "level.view": "查看",
    "level.analyse": "分析",
    "level.act": "行动",
    "by.us": "我方",
    "by.customer": "客户",
    # the workbook
    "sheet.list": "名单",
    "sheet.not_scored": "未评分",
    "sheet.columns": "名单说明",
    "columns.heading": "列名",
    "columns.column": "文件中的列",
    "columns.meaning": "含义",
    "columns.as_of": "续约风险名单，截至 {as_of}",
    "columns.model": "{target}：模型 {model}",
    "columns.untold": "未提供以下类别的数据，名单未予考虑：{families}",
    "and": "、",
    "columns.no_model": "{target}：未预测，目前没有可用的模型（原因见 manifest.json）",
    "columns.rows": "已评分客户 {scored} 家，未评分客户 {others} 家。",
    "columns.more_rows": "本工作簿按排名显示 {shown} 家客户（共 {all} 家）；Parquet 与 CSV 文件包含全部客户。",
    "target.renewal": "续约",
    "target.upsell": "增购",
    "target.cross_sell": "交叉购买",
    "target.expansion": "扩展",
    "explain.title": "{account}，截至 {as_of}",
    "explain.reasons": "偏向流失",
    "explain.strengths": "偏向续约",
    "explain.families": "各主题的贡献（对数几率，负数表示偏向流失）",
    "explain.features": "各指标的贡献",
    "explain.rows": "所读各表中该客户的行数",
    "explain.feature": "指标",
    "explain.figure": "数值",
    "explain.peer": "同类客户",
    "explain.contribution": "贡献",
    "explain.subject": "主题",
    "explain.table": "表",
    "explain.count": "行数",
    "explain.none": "没有足够突出的因素",
    "forecast.title": "续约预测（自 {as_of} 起，全公司现有客户，金额单位 {currency}）",
    "forecast.period": "期间",
    "forecast.quarter": "{first} 至 {last}",
    "forecast.trailing_year": "全年 {first} 至 {last}",
    "forecast.opening_arr": "期初金额",
    "forecast.arr_due": "到期金额",
    "forecast.arr_decided": "已续约金额",
    "forecast.arr_renewed": "预计续约金额",
    "forecast.by_last_year": "按去年续约率",
    "forecast.arr_at_risk": "风险金额",
    "forecast.revenue_renewal_rate": "续约率（按金额）",
    "forecast.gross_retention": "总留存率（GRR）",
    "forecast.net_retention": "净留存率（NRR）",
    "forecast.about.opening_arr": "当前客户在期间前一日的年度经常性收入；结果未定的合同只计预计仍会续约的部分。",
    "forecast.about.arr_due": "期内到期的续约金额；合同期较短时，含尚未签署的后续合同再次到期的金额。",
    "forecast.about.arr_decided": "到期金额中已再次购买的部分，是已知事实，不是预测。",
    "forecast.about.arr_renewed": "到期合同中再次购买（不论新价）的合同的到期金额。",
    "forecast.about.arr_at_risk": "到期金额中预计不会再次购买的部分。",
    "forecast.about.revenue_renewal_rate": "再次购买的合同的到期金额除以到期金额。",
    "forecast.about.gross_retention": "期初金额减去期初客户的流失与缩减，再除以期初金额；不超过 100%。",
    "forecast.about.net_retention": "期初客户的期末金额（含增购、交叉购买与提价）除以期初金额，不含新客户。",
    "forecast.note": "括号内为该数值以 {confidence:.0%} 的概率落入的区间。之后新来的客户不计入。",
    "forecast.file": "按客户规模、行业和客户成功经理的细分及定义见：{folder}",
    # why a chance changed
    "change.higher": "上升 {points} 个百分点",
    "change.higher.one": "上升 {points} 个百分点",
    "change.lower": "下降 {points} 个百分点",
    "change.lower.one": "下降 {points} 个百分点",
    "change.same": "无变化",
    "change.of": "：{parts}",
    "change.between": "，",
    "change.data": "数据变化 {points:+d}",
    "change.clock": "临近续约 {points:+d}",
    "change.model": "更换模型 {points:+d}",
    "change.figure": "。{sentence}",
    "change.before": "上期：",
    "change.no_list": "没有可比较的上期名单",
    "change.new": "本期新列入名单",
    "change.new_term": "新合同期：上期名单针对的是另一次续约",
    "change.not_scored": "上期名单未评分",
    "change.untold": "{change}；变化原因未知：{why}",
    "change.why.no_figures": "未保留上期名单所依据的数据",
    "change.why.no_model": "上期名单所用的模型已无法加载",
    "change.why.other_features": "上期模型所用的部分指标已不再计算",
    "change.why.other_figures": "所保留的数据并非上期名单所依据的数据",
    # what is other than it was
    "drift.inputs": (
        "{name}（{family}）的分布与模型训练前一年不同：指数 {size:.2f}（通常不超过 {limit:.2f}）；"
        "变化最大的区间占客户的比例由 {then:.0%} 变为 {now:.0%}"
    ),
    "drift.missing": "{name}（{family}）在 {now:.0%} 的客户中缺失，模型训练前一年为 {then:.0%}",
    "drift.score": (
        "续约概率的分布与回测不同：指数 {size:.2f}（通常不超过 {limit:.2f}）；"
        "变化最大的区间占客户的比例由 {then:.0%} 变为 {now:.0%}"
    ),
    "drift.last_list": (
        "续约概率的分布与上期名单不同：指数 {size:.2f}（通常不超过 {limit:.2f}）；"
        "变化最大的区间占客户的比例由 {then:.0%} 变为 {now:.0%}"
    ),
    "drift.calibration": "{name} 到期的 {accounts} 次续约，此前名单预计 {then:.0%}，实际 {now:.0%}",
    # did it help?
    "effect.title": "是否有效？各方案对续约的影响（截至 {as_of}）",
    "effect.any": "任一方案",
    "effect.dash": "—",
    "effect.column.playbook": "方案",
    "effect.column.treated": "干预数",
    "effect.column.renewed": "已续约",
    "effect.column.without": "若未干预",
    "effect.column.points": "效果（百分点）",
    "effect.column.interval": "{confidence:.0%} 区间",
    "effect.column.log_odds": "效果（对数几率）",
    "effect.column.naive": "直接差异",
    "effect.column.verdict": "结论",
    "effect.verdict.helped": "有效",
    "effect.verdict.hurt": "有害",
    "effect.verdict.unclear": "不明确",
    "effect.verdict.refused": "无法判断",
    "effect.helped": (
        "{playbook}：有效。{treated} 个受干预客户中 {renewed:.0%} 续约；若未干预，约 {without:.0%} 会续约（"
        "{points:+.1f} 个百分点，大概率在 {low:+.1f} 到 {high:+.1f} 之间）。"
    ),
    "effect.hurt": (
        "{playbook}：干预后续约反而更少。{treated} 个受干预客户中 {renewed:.0%} 续约；若未干预，约 {without:.0%} 会续约"
        "（{points:+.1f} 个百分点，大概率在 {low:+.1f} 到 {high:+.1f} 之间）。"
    ),
    "effect.unclear": (
        "{playbook}：不明确。{treated} 个受干预客户中 {renewed:.0%} 续约；若未干预，约 {without:.0%} 会续约（"
        "{points:+.1f} 个百分点，但 {low:+.1f} 到 {high:+.1f} 之间都有可能）。"
    ),
    "effect.too_few_treated": (
        "{playbook}：无法判断。目前可评估的受干预客户为 {treated:.0f} 个，至少需要 {needed:.0f} 个。"
    ),
    "effect.too_few_outcomes": (
        "{playbook}：无法判断。结果几乎全部相同：较少的一种仅 {rarer:.0f} 个，受干预与未干预客户中"
        "各至少需要 {needed:.0f} 个。"
    ),
    "effect.too_few_alike": (
        "{playbook}：无法判断。仅 {share:.0%} 的受干预客户有相似的未干预客户，至少需要 {needed:.0%}"
        "：这类客户几乎都被干预了。"
    ),
    "effect.too_little_to_compare": (
        "{playbook}：无法判断。与受干预客户相似的未干预客户仅相当于 {rows:.0f} 个，至少需要 {needed:.0f} 个。"
    ),
    "effect.headline": "效果＝受干预客户的续约比例减去若未干预时的续约比例；后者由同类日期上状况相似的未干预客户估计。",
    "effect.plain": "直接差异未考虑谁受了干预；客户正是因为看起来有风险才受干预。",
    "effect.unseen": "经理看到而数据表中没有的情况无法计入。每个方案各有区间：十个中约有一个会偏离真值。",
    # 回测
    "backtest.title": "回测（截至 {until}）",
    "backtest.about": (
        "模型若站在过去某日会怎么说、事后看说得如何。每个模型只知道当日以前的事；并与几种简单方法在同样的行上比较"
        "。已经签约的续约不计入。"
    ),
    "backtest.intervals": (
        "括号内为对客户重新抽样所得的区间。对数损失之差的区间完全位于零的一侧时才下结论。各区间独立：十个中约有一"
        "个会偏离真值。"
    ),
    "backtest.at_lead": "{target}，续约前 {days} 天（{terms} 次续约）",
    "backtest.at_all": "{target}，全部观察（{terms} 个合同期）",
    "backtest.untrained": "{target}：无法训练模型：{reason}",
    "backtest.file": "完整报告：{page}",
    "backtest.counted": (
        "{rows} 行，{accounts} 个客户，其中 {seen} 的结果为“是”。{origins} 个训练日，自 {first} 至 {last}。未计入"
        "：{decided} 行已签约，{treated} 行的续约受过干预。"
    ),
    "backtest.than.better": "确定优于“{baseline}”：对数损失改善 {value}（{low} … {high}）。",
    "backtest.than.alike": "与“{baseline}”无法区分：对数损失改善 {value}（{low} … {high}）。",
    "backtest.than.worse": "确定劣于“{baseline}”：对数损失改善 {value}（{low} … {high}）。",
    "backtest.verdict.better": "更优",
    "backtest.verdict.alike": "无法区分",
    "backtest.verdict.worse": "更差",
    "backtest.model": "模型",
    "backtest.base_rate": "总体比例",
    "backtest.last_outcome": "上次结果",
    "backtest.days_since_last_use": "距上次使用天数",
    "backtest.few_features": "六个特征",
    "backtest.logistic_regression": "全特征逻辑回归",
    "backtest.health_score": "人工健康分",
    "backtest.linear": "仅线性部分",
    "backtest.true": "完全准确",
    "backtest.active": "活跃（90 天内使用过）",
    "backtest.silent": "沉默（超过 90 天未使用）",
    "backtest.auc_of": "AUC：{speaker}",
    "backtest.older": "{month} 及以上",
    "backtest.section.whole": "模型与基准比较",
    "backtest.section.calibration": "承诺与实际",
    "backtest.section.leads": "按距续约天数",
    "backtest.section.capacity": "经理在能力范围内能发现多少",
    "backtest.section.profit": "期望利润",
    "backtest.section.activity": "仍活跃的客户与已沉默的客户",
    "backtest.section.segments": "按细分",
    "backtest.section.quarters": "按季度",
    "backtest.section.staleness": "模型随时间的变化",
    "backtest.section.abstention": "略去最陌生的客户",
    "backtest.segments": "仅列出结果数量足够的细分。",
    "backtest.capacity": (
        "共 {lists} 份月度名单，按 ARR 乘以流失概率排序，并按每位经理的能力截断。名单上流失的 ARR 为 {lost} "
        "{currency}（同一客户在每份名单上各计一次）；表中为截断线以上所占比例，旁边为截断线以上的 ARR 占全部的比"
        "例，即随机所能发现的部分。"
    ),
    "backtest.capacity.all_fit": (
        "共 {lists} 份月度名单，按 ARR 乘以流失概率排序。所有名单都在各经理的能力（list.capacity）之内，因此只看次序："
        "名单上流失的 ARR 共 {lost} {currency}（同一客户在每份名单上各计一次），表中为排在其经理名单前五分之一者所占"
        "比例。"
    ),
    "backtest.profit": (
        "EMPB：若联系截断线以上的客户（每户 {contact} {currency}）并让利 ARR 的 {offer}，且将流失者中有 "
        "{accepted} 接受，每种排序在最佳截断处的每户收益。截断线为事后选取：仅用于比较排序，不是收益承诺。"
    ),
    "backtest.profit.no_arr": "未计算：数据行中没有 ARR。",
    "backtest.coverage": (
        "{held} 的十分位组中，实际比例落在该组客户 {confidence} 区间的平均范围之内。区间针对单个客户自身的概率，"
        "而一次结果看不出概率：此检验能发现位置错误的区间，发现不了过宽的区间。"
    ),
    "backtest.staleness": (
        "每一行也由更早的模型评分。各月龄与同样行上当时最新的模型比较；差值低于零即为老化的代价。训练当日为第 1 个月。"
    ),
    "backtest.abstention": (
        "陌生度为客户指标中超出训练数据常见范围的比例。若被误判的正是陌生客户，则越靠左对数损失越低。"
    ),
    "backtest.column.speaker": "方法",
    "backtest.column.auc": "AUC（区分度）",
    "backtest.column.log_loss": "对数损失",
    "backtest.column.average_precision": "平均精确率",
    "backtest.column.brier": "Brier 分数",
    "backtest.column.slope": "校准斜率",
    "backtest.column.intercept": "校准截距",
    "backtest.column.error": "校准误差",
    "backtest.column.error_by_chance": "其中偶然所致",
    "backtest.column.lift_top_tenth": "前十分之一提升度",
    "backtest.column.gain": "对数损失改善",
    "backtest.column.verdict": "结论",
    "backtest.column.terms": "合同期数",
    "backtest.column.rows": "行数",
    "backtest.column.seen": "实际",
    "backtest.column.promised": "承诺",
    "backtest.column.better": "优于",
    "backtest.column.alike": "无法区分",
    "backtest.column.worse": "劣于",
    "backtest.column.lead_days": "距续约天数",
    "backtest.column.activity": "客户",
    "backtest.column.segment": "细分",
    "backtest.column.quarter": "季度",
    "backtest.column.recall": "发现的流失 ARR",
    "backtest.column.listed": "截断线以上的 ARR 占比",
    "backtest.column.recall_early": "各名单前五分之一中发现的流失 ARR",
    "backtest.column.csm": "经理",
    "backtest.column.lost_arr": "流失的 ARR",
    "backtest.column.accounts_listed": "截断线以上的客户占比",
    "backtest.column.profit": "每户利润",
    "backtest.column.low": "下限",
    "backtest.column.high": "上限",
    "backtest.column.held": "在区间内",
    "backtest.column.month": "月龄",
    "backtest.column.models": "模型数",
    "backtest.column.newest_auc": "最新模型的 AUC",
    "backtest.column.newest_log_loss": "最新模型的对数损失",
    "backtest.column.newest_month": "其平均月龄",
    "backtest.column.kept": "保留比例",
    "backtest.column.strangeness": "陌生度上限",
    # 设置搜索
    "tune.refused": "{target}：未搜索：{reason}",
    "tune.tried": (
        "{target}：按 {day} 之前各模型本会给出的判断试了 {trials} 组设置，其中 {early} 组提前停止。"
        "对数损失最好为 {found:.4f}，当前设置为 {in_force:.4f}。"
    ),
    "tune.same": "没有找到比当前设置更好的设置：请保持不变。",
    "tune.better": (
        "在任何试验都未见过的 {terms} 个后续合同期上，找到的设置确定更好：对数损失低 {value:.4f}"
        "（{low:.4f} … {high:.4f}）。"
    ),
    "tune.alike": (
        "在任何试验都未见过的 {terms} 个后续合同期上，与当前设置无法区分：对数损失低 {value:.4f}"
        "（{low:.4f} … {high:.4f}）。没有理由更改。"
    ),
    "tune.worse": (
        "在任何试验都未见过的 {terms} 个后续合同期上，确定更差：对数损失低 {value:.4f}"
        "（{low:.4f} … {high:.4f}）。请保持当前设置。"
    ),
    "tune.too_few": (
        "之后是否更好无从判断：留出了 {terms} 个合同期，其中较少的一类结果有 {events:.0f} 个。没有理由更改。"
    ),
    "tune.take_over": "找到的设置：renewals learn --until {until} {settings}（或写入 params.yaml，对所有目标生效）",
}
