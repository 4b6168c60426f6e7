"""Names of companies and of customer-success managers, English and Chinese."""

from __future__ import annotations

from itertools import cycle

import numpy as np

from renewals.examples.company.clock import Flags


def split_names(text: str) -> list[str]:
    """Split a text into its names."""
    return text.split()


ENGLISH_FIRST = split_names(
    "Harbour Northwind Bluepeak Silverline Oakfield Brightwater Ironbridge Summit Redwood Clearview Fairmont Lakeside "
    "Kestrel Beacon Granite Meridian Foxglove Ashford Pioneer Stonegate Evergreen Horizon Larkspur Millbrook Orchard "
    "Pinnacle Quayside Riverton Sandpiper Thornbury Upland Vantage Westbrook Aldgate Birchwood Copperfield Driftwood"
)
ENGLISH_SECOND = split_names(
    "Analytics Logistics Systems Foods Capital Retail Media Robotics Health Energy Software Learning Textiles "
    "Motors Partners Supply Networks Instruments Insurance Travel Packaging Studios Pharma Freight"
)
ENGLISH_LEGAL_FORMS = ("", " Ltd", " Inc", " Group", " GmbH", " & Co", " Holdings", " International")
CHINESE_PLACE = ["", *split_names("上海 深圳 杭州 北京 成都 苏州 武汉 广州")]
CHINESE_FIRST = split_names(
    "启明 远航 华信 天成 博瑞 恒通 金石 云帆 星河 聚力 安泰 鼎新 盛世 瑞丰 致远 海纳 百川 嘉禾 东方 新域"
)
CHINESE_SECOND = split_names("科技 数据 物流 传媒 教育 医疗 制造 零售 软件 金融 电子 网络 能源 食品 咨询 汽车")

MANAGERS = (
    "Li Wei", "王芳", "Anna Schmidt", "James Carter", "陈静", "Maria Rossi", "张伟", "Sofia Lindqvist", "David Okafor",
    "刘洋", "Emma Dubois", "赵敏", "Tom Becker", "Priya Nair", "孙磊", "Grace Kim", "周婷", "Lucas Moreau", "吴刚",
    "Hannah Weiss",
)  # fmt: skip


def draw_names(rng: np.random.Generator, chinese: Flags) -> list[str]:
    """Draw company names; a name is repeated only if the lists are exhausted."""
    english_names = [f"{a} {b}{form}" for form in ENGLISH_LEGAL_FORMS for a in ENGLISH_FIRST for b in ENGLISH_SECOND]
    chinese_names = [f"{place}{a}{b}" for place in CHINESE_PLACE for a in CHINESE_FIRST for b in CHINESE_SECOND]
    rng.shuffle(english_names)
    rng.shuffle(chinese_names)
    lists = {False: cycle(english_names), True: cycle(chinese_names)}
    return [next(lists[is_chinese]) for is_chinese in chinese.tolist()]


def manager_name(number: int) -> str:
    """Name of a customer-success manager; repeated names get a number."""
    repetition, index = divmod(number, len(MANAGERS))
    return MANAGERS[index] + (f" {repetition + 1}" if repetition else "")
